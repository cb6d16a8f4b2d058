//! Projective maps of the plane, among them the affine ones.

/// Where a pixel of the result comes from, in homogeneous coordinates about the image's center:
/// `(x', y', w') = M (x, y, 1)`, in pixels; `x` counts columns and `y` rows. The source is `(x'/w', y'/w')`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Projective(pub(super) [[f64; 3]; 3]);

const LAST: [f64; 3] = [0.0, 0.0, 1.0];

impl Projective {
    pub(super) const IDENTITY: Projective = Projective([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], LAST]);

    /// Left becomes right.
    pub(super) const FLIP: Projective = Projective([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], LAST]);

    /// A turn by an angle, clockwise as seen.
    pub(super) fn rotation(degrees: f64) -> Projective {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Projective([[cos, sin, 0.0], [-sin, cos, 0.0], LAST])
    }

    /// A movement to the right and down.
    pub(super) fn translation(right: f64, down: f64) -> Projective {
        Projective([[1.0, 0.0, -right], [0.0, 1.0, -down], LAST])
    }

    /// An enlargement by a factor in each direction.
    pub(super) fn scaling(horizontal: f64, vertical: f64) -> Projective {
        Projective([[1.0 / horizontal, 0.0, 0.0], [0.0, 1.0 / vertical, 0.0], LAST])
    }

    /// Upper rows lean to the right, and left columns downwards, by so many pixels for each pixel.
    pub(super) fn shearing(horizontal: f64, vertical: f64) -> Projective {
        Projective([[1.0, horizontal, 0.0], [vertical, 1.0, 0.0], LAST])
    }

    /// The rectangle of this width and height about the center is seen within `corners`: those to which the
    /// upper left, the upper right, the lower right and the lower left one go. They must be convex, as no
    /// three of them may lie on a line.
    pub(super) fn onto(corners: [[f64; 2]; 4], width: f64, height: f64) -> Projective {
        // Heckbert 1989, "Fundamentals of Texture Mapping and Image Warping", section 2.2.3: from the unit
        // square to a quadrilateral.
        let [[x0, y0], [x1, y1], [x2, y2], [x3, y3]] = corners;
        let (dx1, dx2, sx) = (x1 - x2, x3 - x2, x0 - x1 + x2 - x3);
        let (dy1, dy2, sy) = (y1 - y2, y3 - y2, y0 - y1 + y2 - y3);
        let determinant = dx1 * dy2 - dx2 * dy1;
        let g = (sx * dy2 - dx2 * sy) / determinant;
        let h = (dx1 * sy - sx * dy1) / determinant;
        let square_to_corners = Projective([
            [x1 - x0 + g * x1, x3 - x0 + h * x3, x0],
            [y1 - y0 + g * y1, y3 - y0 + h * y3, y0],
            [g, h, 1.0],
        ]);
        let square_to_rectangle =
            Projective([[width, 0.0, -width / 2.0], [0.0, height, -height / 2.0], LAST]);
        square_to_rectangle.then(&square_to_corners.inverse())
    }

    /// This map first, then `next`.
    pub(super) fn then(&self, next: &Projective) -> Projective {
        let entry = |row: [f64; 3], column: usize| -> f64 {
            row.iter().zip(&next.0).map(|(value, next)| value * next[column]).sum()
        };
        Projective(self.0.map(|row| [entry(row, 0), entry(row, 1), entry(row, 2)]))
    }

    pub(super) fn is_affine(&self) -> bool {
        self.0[2] == LAST
    }

    /// Whether rows stay rows and columns stay columns.
    pub(super) fn is_upright(&self) -> bool {
        let [[_, b, _], [d, ..], _] = self.0;
        self.is_affine() && b == 0.0 && d == 0.0
    }

    /// How many source pixels one pixel of the result is wide, near the center.
    pub(super) fn shrinkage(&self) -> f64 {
        let [[a, b, _], [d, e, _], [.., i]] = self.0;
        ((a * e - b * d).abs().sqrt() / i).abs()
    }

    /// Up to a factor, which does not matter in homogeneous coordinates: the adjugate.
    fn inverse(&self) -> Projective {
        let m = self.0;
        let cofactor = |row: usize, column: usize| {
            let (r1, r2) = ((row + 1) % 3, (row + 2) % 3);
            let (c1, c2) = ((column + 1) % 3, (column + 2) % 3);
            m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
        };
        Projective([0, 1, 2].map(|row| [0, 1, 2].map(|column| cofactor(column, row))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(map: &Projective, x: f64, y: f64) -> [f64; 2] {
        let [x, y, w] = map.0.map(|row| row[0] * x + row[1] * y + row[2]);
        [x / w, y / w]
    }

    #[test]
    fn maps_compose_in_the_order_of_their_names() {
        // Right by one and then flipped is flipped and then left by one.
        let one = Projective::translation(1.0, 0.0).then(&Projective::FLIP);
        assert_eq!(one, Projective::FLIP.then(&Projective::translation(-1.0, 0.0)));
        assert_eq!(source(&one, 0.0, 0.0), [-1.0, 0.0]);
    }

    #[test]
    fn corners_come_from_corners() {
        let corners = [[-3.0, -1.0], [3.5, -2.0], [4.0, 2.0], [-2.0, 1.5]];
        let map = Projective::onto(corners, 8.0, 4.0);
        let rectangle = [[-4.0, -2.0], [4.0, -2.0], [4.0, 2.0], [-4.0, 2.0]];
        for ([x, y], expected) in corners.into_iter().zip(rectangle) {
            let found = source(&map, x, y);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?} {expected:?}");
        }
        // Diagonals stay lines: where those of the corners cross is the rectangle's center.
        // (−3, −1) + s (7, 3) = (3.5, −2) + t (−5.5, 3.5) at s = 91/164.
        let s = (6.5 * 3.5 - 1.0 * 5.5) / (7.0 * 3.5 + 3.0 * 5.5);
        let found = source(&map, -3.0 + 7.0 * s, -1.0 + 3.0 * s);
        assert!(found.iter().all(|value| value.abs() < 1e-9), "{found:?}");
    }

    #[test]
    fn a_rectangle_onto_a_part_of_itself_is_a_scaling() {
        let corners = [[-1.0, -1.0], [3.0, -1.0], [3.0, 1.0], [-1.0, 1.0]];
        let map = Projective::onto(corners, 8.0, 4.0);
        assert_eq!(source(&map, 1.0, 0.0), [0.0, 0.0]);
        assert_eq!(source(&map, 2.0, 0.5), [2.0, 1.0]);
        assert_eq!(map.shrinkage(), 2.0);
    }

    #[test]
    fn what_kind_of_map() {
        assert!(Projective::FLIP.then(&Projective::translation(1.0, 2.0)).is_upright());
        assert!(!Projective::rotation(10.0).is_upright());
        assert!(Projective::rotation(10.0).is_affine());
        assert!(
            !Projective::onto([[-1.0, -1.0], [1.0, -1.0], [2.0, 1.0], [-2.0, 1.0]], 4.0, 2.0).is_affine()
        );
        assert!((Projective::rotation(30.0).shrinkage() - 1.0).abs() < 1e-12);
    }
}
