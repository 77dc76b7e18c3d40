//! From the tensors of some files to weights under canonical names.

use super::{Form, Keys, Match, Table};
use crate::error::{Error, Result};
use crate::tensor::{DType, Shape};
use crate::weights::mapped::TensorFile;
use crate::weights::sources::TensorSet;
use crate::weights::weight::{FileRows, Layout, Residency, Scales, Weight};
use crate::weights::weight_map::WeightMap;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Table {
    /// The weights among `tensors` that this table names, whatever their layout and prefix; tensors that it does not
    /// name are passed over. An empty map if there is none.
    pub fn load(&self, tensors: &TensorSet) -> Result<WeightMap> {
        let mut map = WeightMap::new(self.part, tensors.path());
        let Some((prefix, keys)) = self.recognise(tensors) else {
            return Ok(map);
        };
        let found: Vec<Found<'_>> = tensors
            .with_prefix(prefix)
            .filter_map(|(name, stripped, file)| Some((self.find(keys, stripped)?, name, file)))
            .collect();
        let blocks = found.iter().filter_map(|(found, ..)| found.block()).max().map_or(0, |last| last + 1);
        let mut parts: BTreeMap<String, Vec<Option<Found<'_>>>> = BTreeMap::new();
        for one in found {
            let canonical = one.0.canonical(keys, blocks);
            let slots = parts.entry(canonical).or_default();
            slots.resize(one.0.rule.patterns(keys).len(), None);
            let part = one.0.part;
            slots[part] = Some(one);
        }
        for (name, slots) in parts {
            let present: Vec<Found<'_>> = slots.iter().flatten().copied().collect();
            let Some((first, ..)) = present.first() else { continue };
            if present.len() < slots.len() {
                return Err(missing_part(tensors, prefix, &slots, &first.names(keys, keys, blocks)));
            }
            let swap = keys == Keys::Diffusers && first.swaps_halves(blocks);
            match dtype(&present) {
                Ok(storage) => map.insert(assemble(name, storage, &present, swap)?),
                Err(reason) => map.refuse(name, reason),
            }
        }
        Ok(map)
    }

    /// The prefix and the layout under which this table names the most tensors.
    fn recognise(&self, tensors: &TensorSet) -> Option<(&'static str, Keys)> {
        let mut best = (0, None);
        for prefix in self.prefixes {
            for keys in [Keys::Diffusers, Keys::Canonical] {
                let named = |stripped: &str| self.find(keys, stripped).is_some();
                let count = tensors.with_prefix(prefix).filter(|(_, stripped, _)| named(stripped)).count();
                if count > best.0 {
                    best = (count, Some((*prefix, keys)));
                }
            }
        }
        best.1
    }
}

/// A matched tensor: its rule, its full name and its file.
type Found<'a> = (Match<'a>, &'a str, &'a Arc<TensorFile>);

fn missing_part(tensors: &TensorSet, prefix: &str, slots: &[Option<Found<'_>>], names: &[String]) -> Error {
    let missing = slots.iter().position(Option::is_none).and_then(|part| names.get(part));
    let name = format!("{prefix}{}", missing.map_or("", String::as_str));
    Error::tensor(tensors.path(), &name, "this tensor is missing, its neighbours are there")
        .hint("the file is incomplete; copy or download it again")
}

/// The one storage dtype of the tensors, which must be one that weights can have.
fn dtype(parts: &[Found<'_>]) -> Result<DType> {
    let mut common = None;
    for (_, name, file) in parts {
        let dtype = file.view(name)?.dtype;
        if !matches!(dtype, DType::Bf16 | DType::F16 | DType::F32) {
            let cause = format!("{dtype} is not a dtype for weights");
            return Err(Error::tensor(file.path(), name, cause).hint("bf16, fp16 or fp32 is needed"));
        }
        if common.is_some_and(|common| common != dtype) {
            return Err(Error::tensor(file.path(), name, "q, k and v are stored in different dtypes")
                .hint("convert the model to one dtype"));
        }
        common = Some(dtype);
    }
    Ok(common.unwrap_or(DType::F32))
}

/// The weight `name`, made of the rows of `parts`, which are alike in shape.
fn assemble(name: String, storage: DType, parts: &[Found<'_>], swap: bool) -> Result<Weight> {
    let mut rows = Vec::new();
    let mut common: Option<(Vec<usize>, Layout)> = None;
    for (found, tensor, file) in parts {
        let wrong = |cause: String| {
            Error::tensor(file.path(), tensor, cause).hint("the file is damaged; copy or download it again")
        };
        let stored = file.view(tensor)?.shape;
        if stored.contains(&0) {
            return Err(wrong(format!("the tensor has no elements: its shape is {stored:?}")));
        }
        let formed = formed(found.rule.form, stored);
        let count = formed.0.first().copied().unwrap_or(1);
        if common.get_or_insert_with(|| formed.clone()) != &formed {
            return Err(wrong(format!("its shape {stored:?} is not that of its neighbours")));
        }
        let of = |rows| FileRows { file: Arc::clone(file), tensor: (*tensor).to_owned(), rows };
        if !swap {
            rows.push(of(0..count));
        } else if count % 2 == 0 {
            rows.extend([of(count / 2..count), of(0..count / 2)]);
        } else {
            return Err(wrong(format!("shift and scale need an even number of rows, there are {count}")));
        }
    }
    let (mut dims, layout) = common.unwrap_or((Vec::new(), Layout::Rows));
    if let Some(rows) = dims.first_mut() {
        *rows *= parts.len();
    }
    let (scales, residency) = (Scales::None, Residency::Device);
    Ok(Weight { name, shape: Shape::from(dims), storage, layout, scales, residency, rows })
}

/// Shape and layout in which a stored tensor of `form` is read.
fn formed(form: Form, stored: &[usize]) -> (Vec<usize>, Layout) {
    match (form, stored) {
        (Form::Matrix, [rows, columns, 1, 1]) => (vec![*rows, *columns], Layout::Rows),
        (Form::Convolution, [outputs, inputs, height, width]) => {
            (vec![*outputs, *height, *width, *inputs], Layout::ChannelsLast)
        }
        _ => (stored.to_vec(), Layout::Rows),
    }
}
