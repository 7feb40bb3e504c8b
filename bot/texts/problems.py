"""What is wrong with a selfie, and why work failed: one sentence for each code, saying what to do instead."""

PROBLEMS = {
    "unreadable": "the file is damaged. Please send it once more.",
    "wrong_format": "I cannot read this kind of file. Send a JPEG, PNG, WebP, HEIC or AVIF photo.",
    "empty": "the file is empty. Please send it once more.",
    "file_too_large": "the file is too large. Send it as a photo instead of a file.",
    "too_many_pixels": "the picture has too many pixels. Send it as a photo instead of a file.",
    "animated": "it moves. Send a still photo.",
    "image_too_small": "the picture is too small. Send the original, as a file if you can.",
    "no_face": "I see no face. Send one that shows yours from the front.",
    "several_faces": "I see more than one face. Send one of you alone, or cut the others off.",
    "drawing": "it looks like a drawing. Send a real photo.",
    "face_too_small": "your face is too small. Come closer, or cut the photo to head and shoulders.",
    "face_cut_off": "your face is cut off. Keep your whole head in the picture.",
    "duplicate": "I have nearly the same one already. Send one from another day or place.",
    "someone_else": "it looks like somebody else. Send only photos of yourself.",
    "face_small": "your face is rather small. Come closer, or send it as a file.",
    "face_unclear": "your face is partly hidden. Send one without sunglasses, mask or hand.",
    "blurred": "a little blurred. Hold the phone still, and wipe the lens.",
    "too_dark": "rather dark. Turn your face to a window or a lamp.",
    "too_bright": "rather bright. Step out of the strong light.",
    "profile": "seen from the side. Turn your face a little more to the camera.",
    "lost": "it did not arrive. Please send it once more.",
}
UNKNOWN_PROBLEM = "it cannot be used. Please send another one."

_LATER = "Please try again in a while; if it stays so, tell the people who run this studio."
_NOT_SET_UP = "Something is not set up right here. The people who run this studio must mend it."

TRAINING_FAILURES = {
    "out_of_memory": "The machine ran out of memory. " + _LATER,
    "not_enough_selfies": "There were too few usable selfies in the end. Send a few more and start again.",
    "cancelled": "It was stopped before the end. You can start it again.",
    "base_unusable": _NOT_SET_UP,
    "face_model_unusable": _NOT_SET_UP,
    "device_lost": "The machine had a fault. " + _LATER,
    "engine_failed": "Something went wrong on our side. Please try again.",
}
UNKNOWN_TRAINING_FAILURE = "Something went wrong on our side. Please try again."

SHOOT_FAILURES = {
    "out_of_memory": "The machine ran out of memory. Ask for fewer at once, or try again in a while.",
    "cancelled": "They were stopped before the end. You can ask again.",
    "base_unusable": _NOT_SET_UP,
    "face_model_unusable": _NOT_SET_UP,
    "adapter_corrupt": "Your model can no longer be read. It must be trained anew from selfies.",
    "nothing_to_show": "None of the pictures was fit to be shown. Try another style.",
    "adapter_missing": "Your model is no longer there. It must be trained anew from selfies.",
    "device_lost": "The machine had a fault. " + _LATER,
    "engine_failed": "Something went wrong on our side. Please try again.",
}
UNKNOWN_SHOOT_FAILURE = "Something went wrong on our side. Please try again."

LIKENESS = {
    "strong": "I compared it with selfies that it had not seen: the likeness is strong.",
    "good": "I compared it with selfies that it had not seen: the likeness is good.",
    "weak": "I compared it with selfies that it had not seen: the likeness is weak.",
}

ADVICE = {
    "daylight": "in daylight, with your face to a window",
    "uncovered": "without sunglasses, mask or hand in front of your face",
    "sharper": "sharper ones: hold the phone still, and wipe the lens",
    "closer": "closer ones: head and shoulders filling the picture",
    "from_left": "with your face turned a little to the left side of the picture",
    "from_right": "with your face turned a little to the right side of the picture",
    "other_days": "from other days and places, in other clothes",
    "more": "simply more of them: 15 is a good number",
}

LACKING = {
    "no_face": "no clear face",
    "several_faces": "more than one face",
    "cut_off": "a head that is cut off",
    "blurred": "not quite sharp",
    "eyes_closed": "eyes that may be closed",
    "unlike": "less like you than it should be",
}
