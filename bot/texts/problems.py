"""What is wrong with a selfie, and why work failed: one sentence for each code, saying what to do instead.

The numbers of one photo or of several stand before a problem, so it is worded for both.
"""

PROBLEMS = {
    "unreadable": "a damaged file. Please send it again.",
    "wrong_format": "I cannot read this kind of file. Send JPEG, PNG, WebP, HEIC or AVIF.",
    "empty": "an empty file. Please send it again.",
    "file_too_large": "too large a file. Send it as a photo instead of a file.",
    "too_many_pixels": "too many pixels. Send it as a photo instead of a file.",
    "animated": "a moving picture. Send a still photo.",
    "image_too_small": "too few pixels. Send the original, as a file if you can.",
    "no_face": "I see no face. Send one that shows yours from the front.",
    "several_faces": "I see more than one face. Send one of you alone, or crop the others out.",
    "drawing": "more like a drawing. Send a real photo.",
    "face_too_small": "your face is too small. Come closer, or crop the photo to head and shoulders.",
    "face_cut_off": "your face is cut off. Keep your whole head in the picture.",
    "duplicate": "nearly the same as another one. Send one from another day or place.",
    "someone_else": "perhaps somebody else. Send only photos of yourself.",
    "face_small": "your face is rather small. Come closer, or send the original as a file.",
    "face_unclear": "your face is partly hidden. Send one without sunglasses, mask or hand.",
    "blurred": "a little blurred. Hold the phone still, and wipe the lens.",
    "too_dark": "rather dark. Turn your face to a window or a lamp.",
    "too_bright": "rather bright. Step out of the strong light.",
    "profile": "seen from the side. Turn your face a little more to the camera.",
    "lost": "lost on the way. Please send it again.",
}
UNKNOWN_PROBLEM = "not usable. Please send another one."

_LATER = "Please try again later. If that does not help, tell the people who run this studio."
_NOT_SET_UP = "Something is not set up right here. The people who run this studio must fix it."

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
    "daylight": "selfies in daylight, with your face to a window",
    "uncovered": "selfies without sunglasses, mask or hand in front of your face",
    "sharper": "sharper selfies: hold the phone still, and wipe the lens",
    "closer": "closer selfies: head and shoulders fill the picture",
    "from_left": "selfies with your face turned a little to the left side of the picture",
    "from_right": "selfies with your face turned a little to the right side of the picture",
    "other_days": "selfies from other days and places, in other clothes",
    "more": "more selfies: 15 is a good number",
}

LACKING = {  # of one headshot, of several, of all
    "no_face": ("shows no clear face", "show no clear face", "none shows a clear face"),
    "several_faces": ("shows more than one face", "show more than one face", "all show more than one face"),
    "cut_off": ("has the head cut off", "have the head cut off", "all have the head cut off"),
    "blurred": ("is not quite sharp", "are not quite sharp", "none is quite sharp"),
    "eyes_closed": ("may have closed eyes", "may have closed eyes", "all may have closed eyes"),
    "unlike": (
        "looks less like you than it should",
        "look less like you than they should",
        "all look less like you than they should",
    ),
}
