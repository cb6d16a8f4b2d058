//! Heat over an image: how much each place speaks for a class.

/// How much each place of an image speaks for a class, or, below zero, against it. `[height, width]`, not necessarily at
/// the image's size.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    height: usize,
    width: usize,
    values: Vec<f32>,
}

/// The words for the thirds of an image.
const ROWS: [&str; 3] = ["top", "middle", "bottom"];
const COLUMNS: [&str; 3] = ["left", "center", "right"];

impl Heat {
    /// Takes values `[height, width]`.
    ///
    /// # Panics
    /// If they do not fill it, or there are none.
    pub fn new(height: usize, width: usize, values: Vec<f32>) -> Self {
        assert!(height * width == values.len() && !values.is_empty(), "values fill {height}×{width}");
        Heat { height, width, values }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[height, width]`
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Divided by the largest magnitude, so that values lie in −1 to 1. Heat that is nowhere stays zero.
    pub fn scaled(&self) -> Heat {
        let largest = self.values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let factor = if largest > 0.0 { 1.0 / largest } else { 0.0 };
        Heat { values: self.values.iter().map(|value| value * factor).collect(), ..*self }
    }

    /// The same heat at another size, by bilinear interpolation between the centers of its places.
    pub fn resized(&self, height: usize, width: usize) -> Heat {
        let (rows, columns) = (neighbors(self.height, height), neighbors(self.width, width));
        let at = |row: usize, column: usize| self.values[row * self.width + column];
        let mut values = Vec::with_capacity(height * width);
        for &(top, down) in &rows {
            let bottom = (top + 1).min(self.height - 1);
            values.extend(columns.iter().map(|&(left, along)| {
                let right = (left + 1).min(self.width - 1);
                let upper = at(top, left) * (1.0 - along) + at(top, right) * along;
                let lower = at(bottom, left) * (1.0 - along) + at(bottom, right) * along;
                upper * (1.0 - down) + lower * down
            }));
        }
        Heat { height, width, values }
    }

    /// The ninth of the image with the most heat for the class, in words, and its share of all such heat; none where
    /// nothing speaks for the class.
    pub fn focus(&self) -> Option<(String, f64)> {
        // At a multiple of three, every ninth has as many places.
        let fine = self.resized(3 * self.height.max(8), 3 * self.width.max(8));
        let mut ninths = [0.0f64; 9];
        for (i, value) in fine.values.iter().enumerate() {
            let (row, column) = (i / fine.width * 3 / fine.height, i % fine.width * 3 / fine.width);
            ninths[3 * row + column] += f64::from(value.max(0.0));
        }
        let all: f64 = ninths.iter().sum();
        let most = (0..9).reduce(|most, ninth| if ninths[ninth] > ninths[most] { ninth } else { most })?;
        let words = match (ROWS[most / 3], COLUMNS[most % 3]) {
            ("middle", "center") => "center".to_string(),
            (row, "center") => row.to_string(),
            ("middle", column) => column.to_string(),
            (row, column) => format!("{row} {column}"),
        };
        (all > 0.0).then(|| (words, ninths[most] / all))
    }
}

/// For each of `to` places, which of `from` places is before it and how far it is on the way to the next.
fn neighbors(from: usize, to: usize) -> Vec<(usize, f32)> {
    let scale = from as f64 / to as f64;
    let of = |place: usize| {
        let center = ((place as f64 + 0.5) * scale - 0.5).clamp(0.0, (from - 1) as f64);
        (center.floor() as usize, center.fract() as f32)
    };
    (0..to).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resizing_interpolates_between_centers_and_keeps_the_size_it_has() {
        let heat = Heat::new(2, 2, vec![0.0, 1.0, 2.0, 3.0]);
        assert_eq!(heat.resized(2, 2), heat);
        assert_eq!(heat.resized(1, 1).values(), [1.5]);
        // Centers of four places over two: a quarter before the first, a quarter and three quarters between, beyond.
        assert_eq!(heat.resized(2, 4).values(), [0.0, 0.25, 0.75, 1.0, 2.0, 2.25, 2.75, 3.0]);
    }

    #[test]
    fn scaling_keeps_signs_and_zero() {
        assert_eq!(Heat::new(1, 3, vec![-4.0, 0.0, 2.0]).scaled().values(), [-1.0, 0.0, 0.5]);
        assert_eq!(Heat::new(1, 2, vec![0.0, 0.0]).scaled().values(), [0.0, 0.0]);
    }

    #[test]
    fn the_focus_is_named_and_measured() {
        let mut values = vec![0.0; 81];
        for row in 6..9 {
            values[row * 9..][..3].fill(1.0);
        }
        values[0] = -5.0;
        let (words, share) = Heat::new(9, 9, values).focus().unwrap();
        assert_eq!(words, "bottom left");
        assert!(share > 0.8, "{share}");
        assert_eq!(Heat::new(3, 3, vec![1.0; 9]).focus().unwrap().0, "top left");
        assert_eq!(Heat::new(1, 1, vec![-1.0]).focus(), None);
    }
}
