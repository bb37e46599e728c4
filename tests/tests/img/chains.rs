//! Random chains of images, changed, committed and rebased by `img`: a model in memory knows what each must show.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use system_tests::programs::run_in;
use system_tests::random::Random;

/// So many chains; times `DISKWRIGHT_SOAK`, if that is set.
const CHAINS: u64 = 24;

/// An image and what it shows.
struct Layer {
    name: String,
    format: &'static str,
    shows: Vec<u8>,
    version: u32,
}

struct Chain {
    directory: tempfile::TempDir,
    /// The lowest first.
    layers: Vec<Layer>,
    random: Random,
    /// Names that were given.
    named: u32,
    /// What was done, for messages.
    story: String,
}

impl Chain {
    fn new(seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut chain = Chain {
            directory,
            layers: Vec::new(),
            random: Random::new(seed),
            named: 0,
            story: format!("seed {seed}\n"),
        };
        let raw = chain.random.chance(2);
        chain.create("base", raw, None);
        chain.change();
        for depth in 1..=chain.random.below(3) + 1 {
            let name = format!("layer{depth}");
            let below = chain.layers.len() - 1;
            chain.create(&name, false, Some(below));
            chain.change();
        }
        chain
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn run(&mut self, arguments: &[&str]) {
        let _ = writeln!(self.story, "img {}", arguments.join(" "));
        let output = run_in(self.directory.path(), "img", arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}{error}", self.story);
    }

    fn qemu(&mut self, program: &str, arguments: &[&str]) {
        let _ = writeln!(self.story, "{program} {}", arguments.join(" "));
        let output =
            Command::new(program).args(arguments).current_dir(self.directory.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text + &String::from_utf8_lossy(&output.stderr);
        // qemu-io fails quietly.
        assert!(output.status.success() && !text.contains("failed"), "{}{text}", self.story);
    }

    /// Makes an image, of any size, over one that is there already.
    fn create(&mut self, name: &str, raw: bool, below: Option<usize>) {
        let size = (self.random.below(40) + 20) * 51_200;
        let text = size.to_string();
        let version = if self.random.chance(4) { 2 } else { 3 };
        let mut options = format!("compat={}", if version == 2 { "0.10" } else { "1.1" });
        let extended = version == 3 && self.random.chance(4);
        let cluster = self.random.pick(if extended { &[16_384, 65_536] } else { &[512, 4096, 65_536] });
        let _ = write!(options, ",cluster_size={cluster}");
        if version == 3 {
            let _ = write!(options, ",extended_l2={}", if extended { "on" } else { "off" });
            let _ = write!(options, ",refcount_bits={}", self.random.pick(&[1, 16, 64]));
        }
        let mut arguments = vec!["create", "-q", "-f", if raw { "raw" } else { "qcow2" }];
        if !raw {
            arguments.extend(["-o", &options]);
        }
        let mut shows = vec![0; size as usize];
        let backing;
        if let Some(below) = below {
            let below = &self.layers[below];
            backing = (below.name.clone(), below.format);
            arguments.extend(["-b", &backing.0, "-F", backing.1]);
            let shared = shows.len().min(below.shows.len());
            shows[..shared].copy_from_slice(&below.shows[..shared]);
        }
        arguments.extend([name, &text]);
        self.run(&arguments);
        let format = if raw { "raw" } else { "qcow2" };
        self.layers.push(Layer { name: name.to_owned(), format, shows, version });
    }

    /// QEMU writes to the image at the top, and we change its size.
    fn change(&mut self) {
        let mut commands = Vec::new();
        let layer = self.layers.last_mut().unwrap();
        let (size, has_backing) = (layer.shows.len() as u64, layer.name.starts_with("layer"));
        for _ in 0..self.random.below(14) + 3 {
            let start = self.random.below(size / 512) * 512;
            let length = ((self.random.below(300) + 1) * 512).min(size - start);
            let range = start as usize..(start + length) as usize;
            match self.random.below(6) {
                0 => {
                    commands.push(format!("write -z {start} {length}"));
                    layer.shows[range].fill(0);
                }
                1 => {
                    commands.push(format!("write -z -u {start} {length}"));
                    layer.shows[range].fill(0);
                }
                _ => {
                    let value = self.random.below(255) as u8 + 1;
                    commands.push(format!("write -P {value} {start} {length}"));
                    layer.shows[range].fill(value);
                }
            }
        }
        let (name, format, version) = (layer.name.clone(), layer.format, layer.version);
        let mut arguments = vec!["-f".to_owned(), format.to_owned()];
        for command in commands {
            arguments.extend(["-c".to_owned(), command]);
        }
        arguments.push(name.clone());
        self.qemu("qemu-io", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        if self.random.chance(2) {
            self.discard(&name, format);
        }
        // A version 2 image that has grown over a longer backing file would show that again.
        if self.random.chance(2) && !(version == 2 && has_backing) {
            let size = (self.random.below(60) + 10) * 51_200;
            self.run(&["resize", "-q", "-f", format, "--shrink", &name, &size.to_string()]);
            self.layers.last_mut().unwrap().shows.resize(size as usize, 0);
        }
    }

    /// Gives a piece up. What it reads as then is asked of QEMU: zeroes, or what was there, or what is below.
    fn discard(&mut self, name: &str, format: &'static str) {
        let size = self.layers.last().unwrap().shows.len() as u64;
        let start = self.random.below(size / 4) / 512 * 512;
        let length = (size / 2) / 512 * 512;
        self.qemu(
            "qemu-io",
            &["-f", format, "-d", "unmap", "-c", &format!("discard {start} {length}"), name],
        );
        let now = self.read(name, format);
        let (layer, below) = (self.layers.len() - 1, self.layers.len().checked_sub(2));
        for (at, byte) in now.iter().enumerate() {
            let below = below.and_then(|below| self.layers[below].shows.get(at)).copied().unwrap_or(0);
            let old = self.layers[layer].shows[at];
            let inside = (start..start + length).contains(&(at as u64));
            let known = *byte == old || (inside && (*byte == 0 || *byte == below));
            assert!(known, "{}discard changed {at:#x} from {old} to {byte}", self.story);
        }
        self.layers[layer].shows = now;
    }

    /// What QEMU reads.
    fn read(&mut self, name: &str, format: &str) -> Vec<u8> {
        self.qemu("qemu-img", &["convert", "-f", format, "-O", "raw", name, "content.raw"]);
        std::fs::read(self.path().join("content.raw")).unwrap()
    }

    fn new_name(&mut self, kind: &str) -> String {
        self.named += 1;
        format!("{kind}{}", self.named)
    }

    fn last(&self) -> usize {
        self.layers.len() - 1
    }

    /// Every image that is left is sound, and shows what it should.
    fn verify(&mut self) {
        for index in 0..self.layers.len() {
            let (name, format) = (self.layers[index].name.clone(), self.layers[index].format);
            if format == "qcow2" {
                self.qemu("qemu-img", &["check", "-q", "-f", "qcow2", &name]);
            }
            std::fs::write(self.path().join("model.raw"), &self.layers[index].shows).unwrap();
            self.qemu("qemu-img", &["compare", "-f", "raw", "-F", format, "model.raw", &name]);
            self.run(&["compare", "-q", "-f", "raw", "-F", format, "model.raw", &name]);
            let size = self.read(&name, format).len();
            assert_eq!(size, self.layers[index].shows.len(), "{}the size of {name}", self.story);
        }
    }

    /// Brings the image at the top down into `target`; those between are of no use afterwards.
    fn commit(&mut self, target: usize) {
        let top = self.last();
        let (name, below) = (self.layers[top].name.clone(), self.layers[target].name.clone());
        let between: Vec<Layer> = self.layers.drain(target + 1..top).collect();
        let shows = self.layers[target + 1].shows.clone();
        if between.is_empty() && self.random.chance(2) {
            // Emptied: it shows the one below, of its own size.
            self.run(&["commit", "-q", &name]);
        } else if between.is_empty() {
            self.run(&["commit", "-q", "-d", &name]);
        } else {
            self.run(&["commit", "-q", "-b", &below, &name]);
        }
        // The lower image grows where it is shorter, and keeps its end where it is longer.
        let base = &mut self.layers[target].shows;
        base.resize(base.len().max(shows.len()), 0);
        base[..shows.len()].copy_from_slice(&shows);
        if between.is_empty() {
            return;
        }
        // The name of a file that is of no use any more is taken out of the header.
        let format = self.layers[target].format;
        self.run(&["rebase", "-u", "-b", &below, "-F", format, &name]);
    }

    fn rebase(&mut self) {
        let (top, name) = (self.last(), self.layers[self.last()].name.clone());
        let mut arguments = vec!["rebase"];
        if self.random.chance(3) {
            arguments.push("-c");
        }
        match self.random.below(4) {
            0 => {
                arguments.extend(["-b", "", &name]);
                self.run(&arguments);
                let gone = self.layers.drain(..top).collect::<Vec<_>>();
                // It stands alone now.
                gone.iter().for_each(|layer| std::fs::remove_file(self.path().join(&layer.name)).unwrap());
            }
            1 => {
                // A copy under another name is the same.
                let below = &self.layers[top - 1];
                let (old, format) = (below.name.clone(), below.format);
                let moved = self.new_name("moved");
                std::fs::copy(self.path().join(&old), self.path().join(&moved)).unwrap();
                self.run(&["rebase", "-u", "-b", &moved, "-F", format, &name]);
                self.layers[top - 1].name = moved;
            }
            2 => {
                // Another image altogether.
                let shows = self.layers[top].shows.clone();
                let version = self.layers[top].version;
                let raw = self.random.chance(2);
                let other = self.new_name("other");
                self.create(&other, raw, None);
                self.change();
                let other = self.layers.pop().unwrap();
                arguments.extend(["-b", &other.name, "-F", other.format, &name]);
                self.run(&arguments);
                self.layers = vec![other, Layer { name, format: "qcow2", shows, version }];
            }
            _ => {
                // Further down in the same chain.
                let target = self.random.below(top as u64) as usize;
                let (below, format) = (self.layers[target].name.clone(), self.layers[target].format);
                arguments.extend(["-b", &below, "-F", format, &name]);
                self.run(&arguments);
                self.layers.drain(target + 1..top);
            }
        }
    }
}

fn play(seed: u64) {
    let mut chain = Chain::new(seed);
    chain.verify();
    for _ in 0..3 {
        if chain.last() == 0 {
            break;
        }
        if chain.random.chance(2) {
            let target = chain.random.below(chain.last() as u64) as usize;
            chain.commit(target);
        } else {
            chain.rebase();
        }
        chain.verify();
        chain.change();
    }
    chain.verify();
}

#[test]
fn random_chains_show_what_they_should() {
    let soak = std::env::var("DISKWRIGHT_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(1u64);
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || (0..CHAINS * soak).filter(|seed| seed % 2 == half).for_each(play));
        }
    });
}
