//! The steps of a run as a table for people.

use crate::dataset::{Dataset, GroupSteps, SetSteps, Source, Steps};

/// The width of what names a line.
const MARGIN: usize = 13;

/// What every bucket of every data set contributes, the steps that makes, and what others would make of it.
pub fn table(steps: &Steps) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, set) in steps.sets.iter().enumerate() {
        let groups: Vec<_> = steps.groups.iter().filter(|group| group.set == index).collect();
        lines.push(named("data set", &about(set)));
        lines.extend(buckets(&groups, set).into_iter().map(|row| named("", &row)));
        lines.extend(share(set).map(|share| named("", &share)));
    }
    lines.push(named("steps", &totals(steps)));
    lines.extend(elsewhere(steps).into_iter().map(|line| named("", &line)));
    lines
}

/// How many views are made of the pictures of each data set that has more than one of a picture.
pub fn views(dataset: &Dataset) -> Vec<String> {
    let of_set = |(index, source): (usize, &Source)| {
        let samples = || dataset.samples.iter().filter(move |sample| sample.source == index);
        let (pictures, views) =
            (samples().count(), samples().map(|sample| sample.views.len()).sum::<usize>());
        let id = &source.id;
        let line =
            format!("{id}: {views} of the {pictures} pictures; an appearance shows any view of its picture");
        (views > pictures).then(|| named("views", &line))
    };
    dataset.sources.iter().enumerate().filter_map(of_set).collect()
}

fn named(name: &str, text: &str) -> String {
    format!("{name:<MARGIN$}{text}")
}

fn about(set: &SetSteps) -> String {
    let number = set.repeats_as_written;
    let repeats = match (set.passes, number) {
        (1, 0) => "1 pass an epoch".to_owned(),
        (passes, number) if passes == number => {
            let extra = passes - 1;
            format!(
                "num_repeats {number} = {} here and in kohya (SimpleTuner's repeats {extra})",
                counted(passes)
            )
        }
        (passes, number) => {
            format!("repeats {number} = {} here and in SimpleTuner, {number} in kohya", counted(passes))
        }
    };
    format!("{}: {} pictures; {repeats}", set.id, set.pictures)
}

fn counted(passes: usize) -> String {
    if passes == 1 { "1 pass".to_owned() } else { format!("{passes} passes") }
}

fn buckets(groups: &[&GroupSteps], set: &SetSteps) -> Vec<String> {
    let mut rows =
        vec![row(["bucket", "pictures", "shown", "batches", "short", "last batch"].map(str::to_owned))];
    for group in groups {
        let numbers =
            [group.pictures, group.appearances, group.batches, group.short_batches, group.last_batch];
        let [pictures, shown, batches, short, last] = numbers.map(|number| number.to_string());
        rows.push(row([group.bucket.to_string(), pictures, shown, batches, short, last]));
    }
    if groups.len() > 1 {
        let shown: usize = groups.iter().map(|group| group.appearances).sum();
        let [pictures, shown, batches, short] =
            [set.pictures, shown, set.batches, set.short_batches].map(|number| number.to_string());
        rows.push(row(["all".to_owned(), pictures, shown, batches, short, String::new()]));
    }
    rows
}

fn row([name, pictures, shown, batches, short, last]: [String; 6]) -> String {
    format!("{name:<11}{pictures:>10}{shown:>9}{batches:>9}{short:>7}{last:>12}").trim_end().to_owned()
}

/// How many of its batches an epoch takes, where those are not all.
fn share(set: &SetSteps) -> Option<String> {
    let (taken, all) = (set.batches_per_epoch, set.batches);
    let differs = taken != all;
    differs.then(|| {
        format!("probability {}: an epoch takes {taken} batches, of {all} in all passes", set.probability)
    })
}

fn totals(steps: &Steps) -> String {
    let short: usize = steps.sets.iter().map(|set| set.short_batches).sum();
    format!(
        "{} in all, {} an epoch ({} batches, {short} short): {:.2} epochs",
        steps.total_steps,
        steps.steps_per_epoch,
        steps.batches_per_epoch,
        steps.epochs()
    )
}

fn elsewhere(steps: &Steps) -> Vec<String> {
    let readings = &steps.readings;
    let formula = match readings.formula_rounded_down == readings.formula_rounded_up {
        true => readings.formula_rounded_up.to_string(),
        false => format!(
            "{} or {} ({:.2})",
            readings.formula_rounded_down, readings.formula_rounded_up, readings.formula
        ),
    };
    vec![
        "an epoch elsewhere:".to_owned(),
        format!("  {formula} by pictures x repeats / batch size (tutorials)"),
        format!("  {} by SimpleTuner's estimate", readings.simpletuner_estimate),
        format!("  {} by SimpleTuner's sampler, which fills short batches", readings.simpletuner_sampler),
        format!("  {} in kohya, which reads repeats as passes", readings.kohya),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Bucket, Length, Repeats, Sampling, ScheduleOptions, SetCount, Share};

    fn table_of(repeats: Repeats, probability: f64) -> String {
        let bucket = |width, pictures| (Bucket { width, height: 64 }, pictures);
        let set = |id: &str, probability| SetCount {
            id: id.into(),
            share: Share { repeats, probability },
            buckets: vec![bucket(64, 470), bucket(128, 6)],
        };
        let options = ScheduleOptions {
            seed: 1,
            batch_size: 6,
            gradient_accumulation_steps: 1,
            length: Length::Steps(24_000),
            sampling: Sampling::BySize,
            fill_short_batches: false,
        };
        table(&Steps::count(&[set("style", probability)], &options).unwrap()).join("\n")
    }

    #[test]
    fn the_table_says_what_repeats_mean_and_what_others_count() {
        let text = table_of(Repeats::Extra(5), 1.0);
        for part in [
            "style: 476 pictures; repeats 5 = 6 passes here and in SimpleTuner, 5 in kohya",
            "64x64             470     2820      470      0           6",
            "all               476     2856      476      0",
            "24000 in all, 476 an epoch (476 batches, 0 short): 50.42 epochs",
            "396 or 397 (396.67) by pictures x repeats / batch size",
            "476 by SimpleTuner's estimate",
            "480 by SimpleTuner's sampler",
            "397 in kohya",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(table_of(Repeats::Passes(5), 1.0).contains("num_repeats 5 = 5 passes here and in kohya"));
        assert!(table_of(Repeats::Extra(0), 1.0).contains("476 pictures; 1 pass an epoch"));
        let half = table_of(Repeats::Extra(5), 0.5);
        assert!(half.contains("probability 0.5: an epoch takes 238 batches, of 476 in all passes"), "{half}");
    }
}
