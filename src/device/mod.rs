//! Where programs run: memory, limits and the choice between devices.
