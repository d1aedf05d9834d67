"""Whether TLS is before the hub in; the security headers of every answer out."""

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
DENIED = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=()"
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Permitted-Cross-Domain-Policies": "none",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": DENIED,
}
STRICT = ("Strict-Transport-Security", "max-age=31536000")
Fields = list[tuple[bytes, bytes]]


def security(secure: bool) -> Fields:
    """As they go out."""
    named = [*HEADERS.items(), *([STRICT] if secure else [])]
    return [(name.lower().encode(), value.encode()) for name, value in named]
