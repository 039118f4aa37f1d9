//! Says of each input of the target `image` what came of it, in the words of `fuzz/c/image.c`: trace FILE...

fn main() {
    for path in std::env::args_os().skip(1).map(std::path::PathBuf::from) {
        let input = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        println!("{name} {}", smstream_fuzz::trace(&input));
    }
}
