//! The step as a program: recorded, differentiated, planned, then walked.
