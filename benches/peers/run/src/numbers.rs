//! Formats numbers for tables.

/// The median of `values`, or the mean of the two in the middle; `None` if there are none.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    Some(if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle], values[middle + 1])
    })
}

/// Three digits, in millions or thousands if large.
pub(crate) fn significant(value: f64) -> String {
    let (scaled, unit) = match value {
        1e6.. => (value / 1e6, " M"),
        1e3.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match scaled {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{scaled:.digits$}{unit}")
}

/// `median (low..high)` of `values`.
pub(crate) fn spread(values: &[f64]) -> String {
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(0.0, f64::max);
    median(values.to_vec()).map_or_else(absent, |median| {
        format!(
            "{} ({}..{})",
            significant(median),
            significant(lowest),
            significant(highest)
        )
    })
}

/// The text for a missing number.
pub(crate) fn absent() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::{median, significant, spread};

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(significant(1_460_000.0), "1.46 M");
        assert_eq!(significant(70_500.0), "70.5 k");
        assert_eq!(significant(586.4), "586");
        assert_eq!(significant(0.19), "0.190");
    }

    #[test]
    fn a_spread_has_its_ends() {
        assert_eq!(spread(&[]), "-");
        assert_eq!(spread(&[3e3, 1e3, 2e3]), "2.00 k (1.00 k..3.00 k)");
    }
}
