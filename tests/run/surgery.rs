//! Damaged and foreign models, made from the miniature.

use super::workshop::{Workshop, files, model};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// The transformer's file in a model folder.
pub const TRANSFORMER: &str = "transformer/diffusion_pytorch_model.safetensors";

/// A tensor on its way from one file to another.
pub struct Tensor {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Workshop {
    /// A copy of the miniature, called `name`.
    pub fn copy_of_model(&self, name: &str) -> PathBuf {
        let copy = self.path(name);
        for (path, bytes) in files(&model()) {
            let to = copy.join(path.strip_prefix(model()).unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(to, bytes).unwrap();
        }
        copy
    }
}

/// Writes `path` anew with the tensors that `change` gives for those that were there.
pub fn rewrite(path: &Path, change: impl FnMut(Tensor) -> Option<Tensor>) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (String, TensorView<'_>)| Tensor {
        name,
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    write(path, file.tensors().into_iter().map(tensor).filter_map(change).collect());
}

/// Writes a safetensors file.
pub fn write(path: &Path, tensors: Vec<Tensor>) {
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).unwrap();
        (tensor.name.clone(), view)
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// Changes the tensor `name` in the file `path`.
pub fn operate(path: &Path, name: &str, operation: impl Fn(&mut Tensor)) {
    let mut found = false;
    rewrite(path, |mut tensor| {
        if tensor.name == name {
            operation(&mut tensor);
            found = true;
        }
        Some(tensor)
    });
    assert!(found, "{name}");
}

/// A bf16 tensor without content worth mentioning.
pub fn blank(name: &str, shape: &[usize]) -> Tensor {
    let elements: usize = shape.iter().product();
    Tensor { name: name.to_owned(), dtype: Dtype::BF16, shape: shape.to_vec(), bytes: vec![0; 2 * elements] }
}
