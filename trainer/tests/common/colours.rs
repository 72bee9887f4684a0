//! Pictures of one colour each, with captions in text files.
use std::path::Path;

/// Their names and colours.
pub const COLOURS: [(&str, [u8; 3]); 4] =
    [("red", [230, 20, 20]), ("green", [20, 200, 40]), ("blue", [30, 40, 220]), ("yellow", [240, 220, 30])];

/// Two pictures of each colour, of two sizes, and one that is no picture.
pub fn write_pictures(folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    for (name, colour) in COLOURS {
        for (i, side) in [16, 24].into_iter().enumerate() {
            let picture = image::RgbImage::from_pixel(side, side, image::Rgb(colour));
            picture.save(folder.join(format!("{name}{i}.png"))).expect("a picture");
            std::fs::write(folder.join(format!("{name}{i}.txt")), format!("{name} tile")).expect("a caption");
        }
    }
    std::fs::write(folder.join("broken.png"), b"no picture").expect("a broken one");
    std::fs::write(folder.join("broken.txt"), b"broken").expect("its caption");
}
