"""An occasion and a link in; the letter that a person gets out."""

from hub.mail import Letter

_END = "\n\nThis letter was written by the Harmattan hub at {hub}. Nobody reads answers to it.\n"


def verification(hub: str, to: str, token: str) -> Letter:
    text = (
        f"Someone, most likely you, made an account with this address at {hub}.\n\n"
        f"Open this link within 48 hours to show that the address is yours:\n\n{hub}/#/verify?token={token}\n\n"
        "If it was not you, do nothing."
    )
    return Letter(to, "Is this your address?", text + _END.format(hub=hub))


def taken(hub: str, to: str) -> Letter:
    text = (
        f"Someone tried to make a second account with this address at {hub}. Nothing was changed.\n\n"
        f"If it was you: sign in, or take a new password at {hub}/#/forgot\nIf it was not you, do nothing."
    )
    return Letter(to, "You have an account already", text + _END.format(hub=hub))


def reset(hub: str, to: str, token: str) -> Letter:
    text = (
        f"Someone, most likely you, asked for a new password at {hub}.\n\n"
        f"Open this link within an hour to choose it:\n\n{hub}/#/reset?token={token}\n\n"
        "It works once and ends all your sessions. If it was not you, do nothing: your password stays."
    )
    return Letter(to, "A new password", text + _END.format(hub=hub))


def changed(hub: str, to: str) -> Letter:
    text = (
        f"The password of your account at {hub} was changed, and your other sessions were ended.\n\n"
        f"If it was not you, take a new one at once: {hub}/#/forgot"
    )
    return Letter(to, "Your password was changed", text + _END.format(hub=hub))
