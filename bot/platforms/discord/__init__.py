"""Discord, through discord.py: https://discord.com/developers/docs.

commands     the slash commands, and registering them when they changed
form         the form that takes photos
capturing    what discord.py hands over -> the JSON that is stored
receiving    the connection; each event is stored first and answered within Discord's three seconds
translating  a stored event -> an `Incoming`
reach        how a person can be reached just now: interaction tokens, closed direct messages
markup       texts, buttons and pictures -> what Discord takes
sending      an outbox item -> calls
faults       Discord's refusals -> our errors
fetching     a file that a person sent -> its bytes
"""

from bot.platforms.discord.platform import DiscordPlatform

__all__ = ["DiscordPlatform"]
