//! Pictures in rows, with captions: what augmentation does, what the model saw.

use crate::svg::{Anchor, Drawing, Frame, cut_to_width, text_width};
use crate::{Error, Picture, Result, raster};

/// The side of the square that a picture is fitted into: three for one of Fashion-MNIST's 28 pixels.
const SIDE: f64 = 84.0;
/// The widest caption or row label; longer ones are cut.
const WIDEST: f64 = 150.0;
const GAP: f64 = 12.0;
const LINE: f64 = 16.0;

/// A picture and what is said beneath it, one or more lines parted by `\n`; nothing if it is empty.
#[derive(Clone, Debug)]
pub struct Captioned {
    /// The picture.
    pub picture: Picture,
    /// The lines beneath it.
    pub caption: String,
}

/// Pictures in rows, left to right and top to bottom.
///
/// ```text
///   title
///              column label   column label
///   row label  ▒▒▒▒▒▒▒▒▒▒▒▒   ▒▒▒▒▒▒▒▒▒▒▒▒
///                caption         caption
/// ```
#[derive(Clone, Debug, Default)]
pub struct Grid {
    /// Above everything; none if it is empty.
    pub title: String,
    /// Pictures in a row; more than there are pictures is as many as there are.
    pub columns: usize,
    /// Above the columns, such as "original" and "augmented"; may be shorter than the columns.
    pub column_labels: Vec<String>,
    /// Before the rows, such as the classes; may be shorter than the rows.
    pub row_labels: Vec<String>,
    /// The pictures, row by row.
    pub cells: Vec<Captioned>,
}

/// Draws `grid` as PNG, two pixels for one, with the embedded font. Small pictures are enlarged with hard pixel edges.
///
/// # Errors
/// There are no pictures or no columns, or the image would be too large.
pub fn labeled_grid(grid: &Grid) -> Result<Vec<u8>> {
    if grid.cells.is_empty() || grid.columns == 0 {
        return Err(Error::EmptyGrid);
    }
    raster::png(&draw(grid)?)
}

fn draw(grid: &Grid) -> Result<Drawing> {
    let columns = grid.columns.min(grid.cells.len());
    let rows = grid.cells.len().div_ceil(columns);
    let captions = || grid.cells.iter().flat_map(|cell| cell.caption.lines());
    let caption_lines = grid.cells.iter().map(|cell| cell.caption.lines().count()).max().unwrap_or(0) as f64;

    let cell_width = widest(captions().chain(grid.column_labels.iter().map(String::as_str))).max(SIDE);
    let cell_height = SIDE + caption_lines * LINE + if caption_lines > 0.0 { 4.0 } else { 0.0 };
    let label_width = widest(grid.row_labels.iter().map(String::as_str));
    let left = GAP + if label_width > 0.0 { label_width + GAP } else { 0.0 };
    let title_height = if grid.title.is_empty() { 0.0 } else { 28.0 };
    let top = GAP + title_height + if grid.column_labels.is_empty() { 0.0 } else { LINE + 4.0 };

    let mut drawing = Drawing::new(
        (left + columns as f64 * (cell_width + GAP)).max(text_width(&grid.title) * 1.4 + 2.0 * GAP),
        top + rows as f64 * (cell_height + GAP),
        if grid.title.is_empty() { "Pictures" } else { &grid.title },
    );
    let middle = |column: usize| left + column as f64 * (cell_width + GAP) + cell_width / 2.0;
    let upper = |row: usize| top + row as f64 * (cell_height + GAP);

    drawing.text("title", (GAP, GAP + 14.0), Anchor::Start, &grid.title);
    for (column, label) in grid.column_labels.iter().take(columns).enumerate() {
        let label = cut_to_width(label, WIDEST);
        drawing.text("quiet", (middle(column), top - 8.0), Anchor::Middle, &label);
    }
    for (row, label) in grid.row_labels.iter().take(rows).enumerate() {
        let label = cut_to_width(label, WIDEST);
        drawing.text("", (left - GAP, upper(row) + SIDE / 2.0 + 4.0), Anchor::End, &label);
    }
    for (i, cell) in grid.cells.iter().enumerate() {
        let (x, y) = (middle(i % columns), upper(i / columns));
        drawing.picture(Frame { x: x - SIDE / 2.0, y, width: SIDE, height: SIDE }, &cell.picture)?;
        for (line, text) in cell.caption.lines().enumerate() {
            let baseline = y + SIDE + LINE * (line as f64 + 1.0);
            let class = if line == 0 { "" } else { "quiet" };
            drawing.text(class, (x, baseline), Anchor::Middle, &cut_to_width(text, WIDEST));
        }
    }
    Ok(drawing)
}

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> f64 {
    texts.map(text_width).fold(0.0, f64::max).min(WIDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(channels: usize, value: u8, caption: &str) -> Captioned {
        let picture = Picture::new(28, 28, channels, vec![value; 28 * 28 * channels]).unwrap();
        Captioned { picture, caption: caption.to_owned() }
    }

    #[test]
    fn pictures_stand_where_they_belong_and_keep_their_colors() {
        let mut red = vec![0; 28 * 28 * 3];
        red.iter_mut().step_by(3).for_each(|value| *value = 200);
        let red = Captioned { picture: Picture::new(28, 28, 3, red).unwrap(), caption: String::new() };
        let grid = Grid { columns: 2, cells: vec![cell(1, 90, ""), red, cell(1, 30, "")], ..Grid::default() };
        let image = image::load_from_memory(&labeled_grid(&grid).unwrap()).unwrap().into_rgb8();
        // Two columns and two rows of 84 with gaps of 12, at two pixels for one.
        assert_eq!(image.dimensions(), (2 * (12 + 2 * 96), 2 * (12 + 2 * 96)));
        let center = |column: u32, row: u32| image.get_pixel(2 * (54 + 96 * column), 2 * (54 + 96 * row)).0;
        assert_eq!([center(0, 0), center(1, 0), center(0, 1)], [[90; 3], [200, 0, 0], [30; 3]]);
        assert_eq!(center(1, 1), [255; 3], "a place without picture is empty");
    }

    #[test]
    fn small_pictures_keep_hard_edges() {
        let pixels = (0..28 * 28).map(|i| if (i % 28 + i / 28) % 2 == 0 { 0 } else { 255 }).collect();
        let board = Captioned { picture: Picture::new(28, 28, 1, pixels).unwrap(), caption: String::new() };
        let grid = Grid { columns: 1, cells: vec![board], ..Grid::default() };
        let image = image::load_from_memory(&labeled_grid(&grid).unwrap()).unwrap().into_luma8();
        assert!(image.pixels().all(|pixel| pixel.0[0] == 0 || pixel.0[0] == 255));
    }

    #[test]
    fn labels_make_room_for_themselves_and_hostile_ones_do_no_harm() {
        let bare = Grid { columns: 2, cells: vec![cell(1, 0, ""), cell(1, 0, "")], ..Grid::default() };
        let labeled = Grid {
            title: "Before & after <b>".to_owned(),
            column_labels: vec!["original".to_owned(), "augmented".to_owned()],
            row_labels: vec!["a class name that is much, much longer than any cell is wide".to_owned()],
            cells: vec![cell(1, 0, "\"quoted\"\nsecond line"), cell(1, 0, "</svg>")],
            ..bare.clone()
        };
        let size = |grid: &Grid| {
            image::load_from_memory(&labeled_grid(grid).unwrap()).unwrap().into_luma8().dimensions()
        };
        let ((width, height), (labeled_width, labeled_height)) = (size(&bare), size(&labeled));
        assert!(labeled_width > width && labeled_height > height);
        assert!(labeled_width < width + 2 * 300, "long labels are cut");
    }

    #[test]
    fn nothing_to_show_is_an_error() {
        assert!(matches!(labeled_grid(&Grid { columns: 3, ..Grid::default() }), Err(Error::EmptyGrid)));
        let no_columns = Grid { cells: vec![cell(1, 0, "")], ..Grid::default() };
        assert!(matches!(labeled_grid(&no_columns), Err(Error::EmptyGrid)));
    }
}
