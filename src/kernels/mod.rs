//! Every kernel: its contract and its definition in plain f32.
//!
//! A kernel is data: a struct that names its operands and holds what is fixed for a program (shapes follow
//! from the operands; what varies by step is read from the step state). The contract checks shapes and states
//! cost and workspace, so that a program is checked and planned before anything runs. The CPU definition is
//! the living definition of what the kernel computes and the oracle for every other device.

pub mod contract;
pub mod gemm;
pub mod matrix;
pub mod parallel;
pub mod parameters;
pub mod scalar;
mod spread;
pub mod step_state;

pub use contract::{Contract, Operand, Shapes, Update};

use crate::device::Limits;
use crate::device::{cpu, cuda};
use crate::error::Result;
use crate::tensor::TensorId;

/// Declares the modules of the kernels and the enum over their contracts.
macro_rules! kernels {
    ($($(#[$doc:meta])* $module:ident :: $name:ident),* $(,)?) => {
        /// One launch of one kernel: the list of all there are.
        #[derive(Debug, Clone)]
        pub enum Kernel {
            $($(#[$doc])* $name($module::$name),)*
        }

        $(impl From<$module::$name> for Kernel {
            fn from(kernel: $module::$name) -> Self {
                Self::$name(kernel)
            }
        })*

        impl Kernel {
            fn contract(&self) -> &dyn Contract {
                match self {
                    $(Self::$name(kernel) => kernel,)*
                }
            }

            fn contract_mut(&mut self) -> &mut dyn Contract {
                match self {
                    $(Self::$name(kernel) => kernel,)*
                }
            }

            /// The name, as it stands in listings.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }
        }
    };
}

pub mod activation;
pub mod adamw;
pub mod add;
pub mod attention;
pub mod cast;
pub mod channels;
pub mod conv2d;
pub mod effective_weight;
pub mod flow;
pub mod gated_multiply;
pub mod gated_residual;
pub mod gather_rows;
pub mod gradient_norm;
pub mod group_norm;
pub mod layer_norm;
pub mod layer_norm_affine;
pub mod linear;
pub mod low_rank;
pub mod magnitude;
pub mod patchify;
pub mod positions;
pub mod qk_norm;
pub mod rms_norm;
pub mod timestep_features;
pub mod velocity_loss;

kernels! {
    /// Y = X W^T + b, with the adapters' low-rank terms, effective weights and output scales.
    linear::Linear,
    /// dX of [`linear::Linear`].
    linear::LinearInputGradient,
    /// Dense dW of an effective weight.
    linear::LinearWeightGradient,
    /// Gradient of an adapter's output scale.
    linear::OutputScaleGradient,
    /// H = dropout(X) A^T for adapters that share an input.
    low_rank::LowRankDown,
    /// dH = s dY B.
    low_rank::LowRankHiddenGradient,
    /// dX through A.
    low_rank::LowRankInputGradient,
    /// dA.
    low_rank::LowRankDownGradient,
    /// dB.
    low_rank::LowRankUpGradient,
    /// W + s * join(F1, F2).
    effective_weight::EffectiveWeight,
    /// Gradients of the factors of [`effective_weight::EffectiveWeight`].
    effective_weight::EffectiveWeightGradient,
    /// DoRA's scale of every output.
    magnitude::MagnitudeScale,
    /// Gradient of DoRA's magnitudes.
    magnitude::MagnitudeGradient,
    /// Softmax attention over one or two streams.
    attention::Attention,
    /// dQ, dK, dV of [`attention::Attention`].
    attention::AttentionGradient,
    /// LayerNorm without affine, then modulation by scale and shift.
    layer_norm::LayerNormModulate,
    /// dX of [`layer_norm::LayerNormModulate`].
    layer_norm::LayerNormModulateGradient,
    /// Gradients of shift and scale.
    layer_norm::ModulationGradient,
    /// RMSNorm of queries and keys, head by head.
    qk_norm::QkNorm,
    /// Gradient through [`qk_norm::QkNorm`].
    qk_norm::QkNormGradient,
    /// Gradient of the gain.
    qk_norm::QkNormWeightGradient,
    /// x + gate * y.
    gated_residual::GatedResidual,
    /// Gradient with respect to y.
    gated_residual::GatedResidualGradient,
    /// Gradient of the gate.
    gated_residual::GateGradient,
    /// GELU in its three forms, SiLU.
    activation::Activate,
    /// Gradient through [`activation::Activate`].
    activation::ActivateGradient,
    /// a + b.
    add::Add,
    /// The same values in another element type.
    cast::Cast,
    /// a * b.
    gated_multiply::GatedMultiply,
    /// LayerNorm with gain and bias.
    layer_norm_affine::LayerNormAffine,
    /// RMSNorm of whole rows.
    rms_norm::RmsNorm,
    /// One row of each sample.
    gather_rows::GatherRows,
    /// Adds the cropped position table.
    positions::AddPositions,
    /// Latents to patches.
    patchify::Patchify,
    /// Patches to latents.
    patchify::Unpatchify,
    /// Sinusoidal features of the timestep.
    timestep_features::TimestepFeatures,
    /// Planes of channels to pixels of channels.
    channels::ChannelsLast,
    /// Pixels of channels to planes of channels, some of them.
    channels::ChannelsFirst,
    /// Mean and reciprocal deviation of every group of channels.
    group_norm::GroupStatistics,
    /// GroupNorm by known statistics.
    group_norm::GroupNorm,
    /// Convolution of channels-last pictures, with the norm and the enlargement in front of it.
    conv2d::Conv2d,
    /// A draw from the latent distribution, scaled.
    flow::SampleLatents,
    /// Flow-matching noise.
    flow::DrawNoise,
    /// Noisy latents and the velocity target.
    flow::FlowNoising,
    /// Gradient of the clean latents.
    flow::FlowNoisingGradient,
    /// Weighted mean squared error of the velocity and its gradient.
    velocity_loss::VelocityLoss,
    /// Gradient of the velocity target.
    velocity_loss::Negate,
    /// Norm of all gradients, clip factor, non-finite check.
    gradient_norm::GradientNorm,
    /// AdamW over all adapters.
    adamw::AdamW,
    /// Exponential moving average of the adapters.
    adamw::MovingAverage,
}

impl Kernel {
    /// Every operand, to be renamed.
    pub fn operands(&mut self) -> Vec<Operand<'_>> {
        self.contract_mut().operands()
    }

    /// What it reads, the bases of its updates included, in order.
    pub fn reads(&self) -> Vec<TensorId> {
        let mut kernel = self.clone();
        let uses = kernel.operands().into_iter().filter_map(|operand| match operand {
            Operand::Read(id) => Some(*id),
            Operand::Write(_) => None,
            Operand::Update(update) => update.from,
        });
        uses.collect()
    }

    /// What it writes, in order.
    pub fn writes(&self) -> Vec<TensorId> {
        let mut kernel = self.clone();
        let uses = kernel.operands().into_iter().filter_map(|operand| match operand {
            Operand::Read(_) => None,
            Operand::Write(id) => Some(*id),
            Operand::Update(update) => Some(update.to),
        });
        uses.collect()
    }

    /// Its updates, in order.
    pub fn updates(&self) -> Vec<Update> {
        let mut kernel = self.clone();
        let uses = kernel.operands().into_iter().filter_map(|operand| match operand {
            Operand::Update(update) => Some(*update),
            _ => None,
        });
        uses.collect()
    }

    /// Whether the operands' shapes fit together.
    pub fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        self.contract().check(shapes)
    }

    /// Floating-point operations of the matrix products of one launch; 0 marks a kernel that memory bounds, which is
    /// therefore cheap to run again.
    pub fn flops(&self, shapes: &dyn Shapes) -> u64 {
        self.contract().flops(shapes)
    }

    /// Scratch memory of one launch, in bytes.
    pub fn workspace(&self, shapes: &dyn Shapes, limits: &Limits) -> usize {
        match &limits.cuda {
            Some(architecture) => self.contract().cuda_workspace(shapes, architecture),
            None => self.contract().workspace(shapes, limits),
        }
    }

    /// The operands that are f32 on every device.
    pub fn exact(&self) -> Vec<TensorId> {
        self.contract().exact()
    }

    /// The launches that it becomes on a card.
    pub fn launches(&self, operands: &cuda::Operands<'_>) -> Result<Vec<cuda::Launch>> {
        let mut launches = cuda::Launches::default();
        self.contract().launch(self.name(), operands, &mut launches)?;
        Ok(launches.into_vec())
    }

    /// Runs the CPU definition.
    pub fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        self.contract().run_on_cpu(operands)
    }
}
