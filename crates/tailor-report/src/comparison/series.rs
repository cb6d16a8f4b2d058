//! How each model is told from the others: a number, its place in the standings, and a color.

/// Colors of the palette; beyond them they begin again, with broken lines.
const COLORS: usize = 8;

/// The CSS class of the color of the model at `place`.
pub(super) fn color(place: usize) -> String {
    format!("s{}", place % COLORS)
}

/// The CSS classes of its line.
pub(super) fn line(place: usize) -> String {
    let again = if place / COLORS % 2 == 1 { " again" } else { "" };
    format!("{} series{again}", color(place))
}
