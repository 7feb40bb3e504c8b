"""Telegram, through python-telegram-bot's `Bot`: https://core.telegram.org/bots/api.

receiving    updates, by long polling or webhook, committed before they are confirmed
translating  a stored update -> an `Incoming`
markup       texts, buttons and pictures -> what the Bot API takes
sending      an outbox item -> calls, and the Bot API's refusals -> our errors
fetching     a file that a person sent -> its bytes
registering  commands and descriptions as people see them in their app
"""

from bot.platforms.telegram.platform import TelegramPlatform

__all__ = ["TelegramPlatform"]
