"""The commands, as they are registered with the platforms and listed by /help."""

from bot.conversation.types import CommandInfo

COMMANDS: tuple[CommandInfo, ...] = (
    CommandInfo("start", "begin, and give your permission"),
    CommandInfo("selfies", "send selfies, and see what I have"),
    CommandInfo("remove", "take a selfie out", "number"),
    CommandInfo("train", "train your model"),
    CommandInfo("headshot", "make headshots", "style", in_groups=True),
    CommandInfo("styles", "all styles", in_groups=True),
    CommandInfo("status", "where you stand"),
    CommandInfo("cancel", "stop what runs"),
    CommandInfo("privacy", "what happens to your photos", in_groups=True),
    CommandInfo("mydata", "what is stored about you"),
    CommandInfo("deleteme", "delete everything"),
    CommandInfo("help", "what I can do", in_groups=True),
)
