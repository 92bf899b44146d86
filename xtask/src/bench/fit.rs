//! How a time grows with a size: a straight line through the logarithms of both.

/// Fits `seconds = a * size^exponent` by least squares, and returns the exponent: 0 is constant, 1 linear.
pub(super) fn exponent(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points
        .iter()
        .filter(|(size, seconds)| *size > 0.0 && *seconds > 0.0)
        .map(|(size, seconds)| (size.ln(), seconds.ln()))
        .collect();
    let (mut x, mut y, mut xx, mut xy, mut n) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (log_size, log_time) in logs {
        x += log_size;
        y += log_time;
        xx += log_size * log_size;
        xy += log_size * log_time;
        n += 1.0;
    }
    (n * xy - x * y) / (n * xx - x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_of_a_power_is_found() {
        for power in [0.0_f64, 0.5, 1.0, 2.0] {
            let points: Vec<(f64, f64)> = [1.0_f64, 10.0, 100.0, 1000.0]
                .iter()
                .map(|size| (*size, 3.0 * size.powf(power)))
                .collect();
            assert!((exponent(&points) - power).abs() < 1e-9, "{power}");
        }
    }
}
