"""Sentences with at most a word or a number to fill in. `{typed}` and `{name}` are people's own words."""

SENTENCES = {
    # consent
    "welcome": (
        "Thank you. Now send me selfies: {wanted} is best, {min} is the least. "
        "You can send many at once.\n\n"
        "Good ones show your face alone, sharp and well lit. Mix days, clothes, places and angles, and smile "
        "in a few. No sunglasses, no filters.\n\n"
        "If this chat lets you choose, send them as files: that keeps more detail."
    ),
    # selfies
    "selfies_private": (
        "Selfies belong in our private chat, where only you and I see them. I did not keep what came here."
    ),
    "selfie_removed": "Photo {number} is out, and deleted.",
    "selfie_unknown": "I have no photo {typed}. /selfies shows the ones I have.",
    "selfie_not_doubtful": "There is nothing left to decide there. /selfies shows where each photo stands.",
    "selfie_used": "Photo {number} will be used.",
    "selfies_used": "They will all be used.",
    "remove_how": "Tell me which one: /remove 3 takes out photo 3. /selfies shows the numbers.",
    # training
    "train_outdated": (
        "That button is out of date, so I have started nothing. "
        "To train with the selfies that I have now, tap below."
    ),
    "train_pending": (
        "I am still looking at {pending} more. Wait a moment, or train now with the {good} good ones."
    ),
    # headshots
    "style_choose": (
        "Which style would you like? Tap one, or write for example: /headshot corporate, no tie, smile"
    ),
    "style_unknown": "I do not know the style {typed}. Did you mean one of these?",
    "style_unsafe": "I do not make pictures like that. Tap a style, or see /styles.",
    "style_offer": "Shall I make headshots like this: {wish}?",
    "shoots_too_many": "I am making {count} sets for you already. Ask again when one is done, or cancel one.",
    "more_like_this_which": "Which one should the next ones be like? Number 1 is the one that came first.",
    "not_me_which": "Which one is not you? Number 1 is the one that came first.",
    "opinion_liked": "Thank you. The next headshots will lean towards number {number}.",
    "opinion_disliked": "Thank you. The next headshots will keep away from number {number}.",
    "opinion_too_late": "Those were made with a model that you have replaced since.",
    "originals": "Here are the originals, as files.",
    "originals_gone": "These have been deleted. I can make new ones: tap Again.",
    "shoot_unknown": "I no longer have these headshots. Ask for new ones with /headshot.",
    "adapter_expired": (
        "Your model was deleted, because you had not used it for {days} days. Send selfies for a new one."
    ),
    # groups
    "notice_private": "I have answered in our private chat.",
    "notice_start": "This is between you and me. Please open our private chat.",
    "notice_headshots": "The headshots will come to our private chat.",
    "notice_news": "{name}, there is news for you. Only you can open it.",
    "group_offer": (
        "Headshots that you ask for in the group come to you alone. Shall I show them in the group instead?"
    ),
    "group_allowed": (
        "Headshots that you ask for in the group will be shown there from now on. To stop it, see /status."
    ),
    "group_forbidden": "Headshots that you ask for in groups will come to you alone again.",
    "group_not_this": "That only makes sense for a group. Write /headshot there first.",
    # cancelling
    "nothing_running": "Nothing is running that I could stop.",
    "cancel_choose": "What shall I stop?",
    "training_cancelled": (
        "The training is stopped. Your selfies are still here, so you can start again at any time."
    ),
    "shoot_cancelled": "Stopped: {wish}.",
    "cancel_gone": "That is over already: there is nothing to stop.",
    # privacy
    "export_coming": "I am putting together all that is stored about you. It comes as a ZIP file.",
    "delete_kept": "Nothing was deleted. All is as it was.",
    # everything else
    "sorry": (
        "Something went wrong on our side, and I could not deal with that. Please try once more. "
        "If it happens again, tell the people who run this studio."
    ),
    "unknown_command": "I do not know the command {typed}. /help lists what I can do.",
    "old_button": "That button is from an older message and no longer does anything.",
}
