use crate::{Stream, frozen_lake::FrozenLake};

/// The map of a lake of `shape` = rows, columns: start at the top left, goal at the bottom right, and elsewhere holes with
/// probability `holes`, except on a random path of steps down and to the right, so that there is a way.
///
/// # Panics
/// If there are fewer than two rows or columns.
pub fn lake_map([rows, columns]: [u32; 2], holes: f64, seed: u64) -> String {
    assert!(rows > 1 && columns > 1, "{rows} x {columns}: must be 2 x 2 or larger");
    let (rows, columns) = (rows as usize, columns as usize);
    let mut rng = Stream::new(seed, "lake", 0);
    let mut map = vec![vec![b'F'; columns]; rows];
    for cell in map.iter_mut().flatten() {
        if rng.unit() < holes {
            *cell = b'H';
        }
    }
    let (mut row, mut column) = (0, 0);
    map[0][0] = b'S';
    while (row, column) != (rows - 1, columns - 1) {
        // Steps that are left, in random order.
        let (down, right) = ((rows - 1 - row) as u32, (columns - 1 - column) as u32);
        if rng.below(down + right) < down {
            row += 1
        } else {
            column += 1
        }
        map[row][column] = b'F';
    }
    map[row][column] = b'G';
    let lines: Vec<String> = map.into_iter().map(|row| row.into_iter().map(char::from).collect()).collect();
    lines.join("/")
}

/// The slippery lake with the map [`lake_map`]. The value of its start is tiny where the lake is large and has many holes.
///
/// # Panics
/// As [`lake_map`].
pub fn lake(shape: [u32; 2], holes: f64, seed: u64) -> FrozenLake {
    let map = lake_map(shape, holes, seed);
    FrozenLake::new(&map, 1.0 / 3.0).unwrap_or_else(|| panic!("{map} is a map"))
}
