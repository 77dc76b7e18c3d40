//! Latents `[b, channels, h, w]` to 2 x 2 patches `[b, h/2 * w/2, 4 channels]` and back.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, expect, expect_shape};
use crate::tensor::{Shape, TensorId};

/// Pixels a side of a patch.
pub const PATCH: usize = 2;

/// Order of a patch's features. The model's input and output differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Channel, row, column: what the patch embedding takes.
    ChannelFirst,
    /// Row, column, channel: what the last linear gives.
    ChannelLast,
}

/// Latents to patches.
#[derive(Debug, Clone)]
pub struct Patchify {
    /// Order of the features.
    pub order: Order,
    /// Latents.
    pub latents: TensorId,
    /// Patches.
    pub patches: TensorId,
}

/// Patches to latents.
#[derive(Debug, Clone)]
pub struct Unpatchify {
    /// Order of the features.
    pub order: Order,
    /// Patches.
    pub patches: TensorId,
    /// Latents.
    pub latents: TensorId,
}

/// The shape of the patches of latents.
pub fn patches_shape(latents: &Shape) -> Shape {
    let [b, c, h, w] = latents.dims() else { return Shape::from([0]) };
    [*b, h / PATCH * (w / PATCH), c * PATCH * PATCH].into()
}

fn check(kernel: &str, latents: &Shape, patches: &Shape) -> Result<()> {
    let even = matches!(latents.dims(), [_, _, h, w] if h % PATCH == 0 && w % PATCH == 0);
    expect(kernel, even, || format!("latents {latents} cannot be cut into 2 x 2 patches"))?;
    expect_shape(kernel, "patches", &patches_shape(latents), patches)
}

/// Calls `visit(index into latents, index into patches)` for every element.
fn pair_up(latents: &Shape, order: Order, mut visit: impl FnMut(usize, usize)) {
    let &[b, channels, h, w] = latents.dims() else { return };
    let features = channels * PATCH * PATCH;
    let mut index = 0;
    for sample in 0..b {
        for channel in 0..channels {
            for y in 0..h {
                for x in 0..w {
                    let token = (sample * (h / PATCH) + y / PATCH) * (w / PATCH) + x / PATCH;
                    let within = (y % PATCH) * PATCH + x % PATCH;
                    let feature = match order {
                        Order::ChannelFirst => channel * PATCH * PATCH + within,
                        Order::ChannelLast => within * channels + channel,
                    };
                    visit(index, token * features + feature);
                    index += 1;
                }
            }
        }
    }
}

impl Contract for Patchify {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.latents), Operand::Write(&mut self.patches)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.latents]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        check("Patchify", shapes.shape(self.latents), shapes.shape(self.patches))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (latents, patches) = (operands.read(self.latents), operands.write(self.patches));
        pair_up(operands.shape(self.latents), self.order, |latent, patch| patches[patch] = latents[latent]);
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

impl Contract for Unpatchify {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.patches), Operand::Write(&mut self.latents)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.latents]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        check("Unpatchify", shapes.shape(self.latents), shapes.shape(self.patches))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (patches, latents) = (operands.read(self.patches), operands.write(self.latents));
        pair_up(operands.shape(self.latents), self.order, |latent, patch| latents[latent] = patches[patch]);
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
