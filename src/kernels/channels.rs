//! Pictures `[b, channels, h, w]`, as files and other models hold them, to `[b, h, w, channels]` and back.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, expect, expect_shape};
use crate::tensor::{Shape, TensorId};
use rayon::prelude::*;

/// Planes of channels to pixels of channels.
#[derive(Debug, Clone)]
pub struct ChannelsLast {
    /// `[b, channels, h, w]`.
    pub planes: TensorId,
    /// `[b, h, w, channels]`.
    pub pixels: TensorId,
}

/// Pixels of channels to planes of channels, from `first` on.
#[derive(Debug, Clone)]
pub struct ChannelsFirst {
    /// `[b, h, w, all channels]`.
    pub pixels: TensorId,
    /// The first channel taken.
    pub first: usize,
    /// The least and the greatest value that is let through; none: every value.
    pub clamp: Option<(f32, f32)>,
    /// `[b, channels taken, h, w]`.
    pub planes: TensorId,
}

impl Contract for ChannelsLast {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.planes), Operand::Write(&mut self.pixels)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.planes]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let planes = shapes.shape(self.planes);
        expect("ChannelsLast", planes.dims().len() == 4, || format!("planes have shape {planes}"))?;
        expect_shape("ChannelsLast", "pixels", &pixels_shape(planes), shapes.shape(self.pixels))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let &[_, channels, height, width] = operands.shape(self.planes).dims() else { return Ok(()) };
        let planes = operands.read(self.planes);
        let rows = operands.write(self.pixels).par_chunks_mut((width * channels).max(1));
        rows.enumerate().for_each(|(row, pixels)| {
            for channel in 0..channels {
                let plane = (row / height * channels + channel) * height + row % height;
                let values = &planes[plane * width..][..width];
                let places = pixels[channel..].iter_mut().step_by(channels);
                places.zip(values).for_each(|(place, value)| *place = *value);
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

impl Contract for ChannelsFirst {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.pixels), Operand::Write(&mut self.planes)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.planes]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let (pixels, planes) = (shapes.shape(self.pixels), shapes.shape(self.planes));
        let fits = match (pixels.dims(), planes.dims()) {
            ([b, h, w, all], [b2, channels, h2, w2]) => {
                (b, h, w) == (b2, h2, w2) && self.first + channels <= *all
            }
            _ => false,
        };
        let first = self.first;
        expect("ChannelsFirst", fits, || {
            format!("pixels {pixels} from channel {first} do not make planes {planes}")
        })
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let &[_, channels, height, width] = operands.shape(self.planes).dims() else { return Ok(()) };
        let all = operands.shape(self.pixels).columns();
        let pixels = operands.read(self.pixels);
        let (least, greatest) = self.clamp.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let planes = operands.write(self.planes).par_chunks_mut((height * width).max(1));
        planes.enumerate().for_each(|(plane, values)| {
            let (picture, channel) = (plane / channels, self.first + plane % channels);
            let places = pixels[picture * height * width * all + channel..].iter().step_by(all);
            values.iter_mut().zip(places).for_each(|(value, place)| *value = place.clamp(least, greatest));
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

/// The shape of the pixels of `planes`.
pub fn pixels_shape(planes: &Shape) -> Shape {
    match planes.dims() {
        [b, channels, h, w] => [*b, *h, *w, *channels].into(),
        _ => planes.clone(),
    }
}
