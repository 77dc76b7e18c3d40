//! Which device a command runs on: what the command line says, else what the settings say.

use super::terminal;
use crate::device::{self, Choice, Device};
use crate::error::Result;
use crate::settings::DeviceChoice;

/// The device to run on, announced.
///
/// # Errors
/// A device that is not there.
pub fn announced(given: Option<Choice>, setting: DeviceChoice) -> Result<Device> {
    let (device, description) = device::choose(wanted(given, setting))?;
    terminal::note(format_args!("device: {description}"));
    Ok(device)
}

/// What is asked for.
pub fn wanted(given: Option<Choice>, setting: DeviceChoice) -> Choice {
    given.unwrap_or(match setting {
        DeviceChoice::Auto => Choice::Auto,
        DeviceChoice::Cpu => Choice::Cpu,
        DeviceChoice::Cuda => Choice::Cuda { memory: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_settings() {
        assert_eq!(wanted(Some(Choice::Cpu), DeviceChoice::Cuda), Choice::Cpu);
        assert_eq!(wanted(None, DeviceChoice::Cuda), Choice::Cuda { memory: None });
        assert_eq!(wanted(None, DeviceChoice::Auto), Choice::Auto);
    }
}
