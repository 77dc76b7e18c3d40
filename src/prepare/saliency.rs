//! What catches the eye.
