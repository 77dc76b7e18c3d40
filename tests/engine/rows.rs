//! Modulation for many rows at once is modulation for each of them.

use super::training_step::golden;
use super::values::normals;
use sargent::device::cpu::Cpu;

#[test]
fn a_program_of_many_rows_equals_as_many_of_one_row_bit_for_bit() {
    for case in ["mmdit_large", "mmdit_medium"] {
        let model = golden(case);
        let (rows, pooled_width) = (7, model.config.pooled_width);
        let timesteps: Vec<f32> = (0..rows).map(|row| 1000.0 - 142.3 * row as f32).collect();
        let pooled = normals("pooled", rows * pooled_width);
        let together = model.modulator(Cpu::new(), rows).unwrap().vectors(&timesteps, &pooled).unwrap();
        let mut single = model.modulator(Cpu::new(), 1).unwrap();
        for row in 0..rows {
            let own = &pooled[row * pooled_width..][..pooled_width];
            let alone = single.vectors(&timesteps[row..=row], own).unwrap();
            for (alone, together) in alone.iter().zip(&together) {
                assert_eq!(alone[..], together[row * alone.len()..][..alone.len()], "{case}, row {row}");
            }
        }
    }
}
