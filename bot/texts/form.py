"""The form for photos, on platforms that have one: its title, its fields, what stands below them."""

FORM = {
    "title": "Your selfies",
    "first": "About 15 photos of your face alone",
    "first_hint": "Up to 10 here. JPEG, PNG, WebP, HEIC or AVIF; different days, places and angles.",
    "more": "More of them",
    "more_hint": "Up to 10 more. Only you and this studio see them.",
}
