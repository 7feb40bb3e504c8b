"""What people see of the bot before they write to it, on platforms that show it."""

SHORT_DESCRIPTION = "Professional headshots of you, from your own selfies. Self-hosted and private."
DESCRIPTION = (
    "I make professional headshots of you.\n\n"
    "1. Send me about 15 selfies.\n"
    "2. I train a small model of your face, for you alone.\n"
    "3. Ask for any style: /headshot linkedin style\n\n"
    "Your photos stay on the computer of this studio. /privacy says how, /deleteme deletes everything."
)
