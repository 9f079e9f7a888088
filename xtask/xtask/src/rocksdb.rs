//! RocksDB, compiled once for each machine and version.
//!
//! The sources are those that `librocksdb-sys` ships, so that nothing else is downloaded and the version is the one in
//! Cargo.lock. Most of the time that its 340 files cost goes into reading the same headers again, so they are compiled
//! in chunks that read them once: 10 CPU-minutes instead of 25. Cargo links the result because `ROCKSDB_LIB_DIR` says
//! where it is; without it a plain `cargo build` compiles the bundled sources itself.

use std::{
    fmt::Write as _,
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::Metadata;
use indicatif::ProgressBar;

use crate::workspace;

/// Name of the library in [`folder`].
pub(crate) const LIBRARY: &str = "librocksdb.a";

/// Files in one chunk. Larger chunks take more than 1.5 GB of memory each.
const CHUNK_FILES: usize = 16;

/// What `librocksdb-sys` itself defines on Linux with our features.
const DEFINES: [&str; 11] = [
    "NDEBUG",
    "LZ4=1",
    "HAVE_ALIGNED_NEW",
    "HAVE_UINT128_EXTENSION",
    "OS_LINUX",
    "ROCKSDB_PLATFORM_POSIX",
    "ROCKSDB_LIB_IO_POSIX",
    "ROCKSDB_SCHED_GETCPU_PRESENT",
    "ROCKSDB_AUXV_GETAUXVAL_PRESENT",
    "ROCKSDB_FALLOCATE_PRESENT",
    "ROCKSDB_RANGESYNC_PRESENT",
];

/// Where the library of the locked version is, or will be.
pub(crate) fn folder(metadata: &Metadata) -> Result<PathBuf> {
    let version = &workspace::package(metadata, "librocksdb-sys")?.version;
    Ok(workspace::cache()?.join("rocksdb").join(version.to_string()))
}

/// Compiles the library unless it is there.
///
/// # Errors
/// When there is no C++ compiler, or a source does not compile.
pub(crate) fn build() -> Result<()> {
    let metadata = workspace::metadata()?;
    let folder = folder(&metadata)?;
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    // Two calls at once would write the same files.
    let lock = fs::File::create(folder.join("lock"))?;
    lock.lock()?;
    if folder.join(LIBRARY).exists() {
        return Ok(());
    }
    let sources = Sources::find(&metadata)?;
    let objects = sources.compile(&folder)?;
    archive(&folder, &objects)?;
    for object in objects {
        fs::remove_file(object)?;
    }
    Ok(())
}

struct Sources {
    root: PathBuf,
    lz4: PathBuf,
    files: Vec<String>,
}

impl Sources {
    fn find(metadata: &Metadata) -> Result<Self> {
        let folder_of = |name| -> Result<PathBuf> {
            let manifest = &workspace::package(metadata, name)?.manifest_path;
            Ok(manifest.parent().context("a manifest lies in a folder")?.as_std_path().to_owned())
        };
        let root = folder_of("librocksdb-sys")?;
        let list = root.join("rocksdb_lib_sources.txt");
        let files =
            fs::read_to_string(&list).with_context(|| format!("{} cannot be read", list.display()))?;
        let mut files: Vec<_> = files
            .lines()
            .map(str::trim)
            .filter(|file| !file.is_empty() && *file != "util/build_version.cc")
            .map(|file| format!("rocksdb/{file}"))
            .collect();
        files.push("build_version.cc".to_owned());
        Ok(Self { root, lz4: folder_of("lz4-sys")?.join("liblz4/lib"), files })
    }

    fn compile(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let chunks: Vec<_> = self.files.chunks(CHUNK_FILES).collect();
        let bar = crate::progress::bar("compiling RocksDB, once for this machine", chunks.len());
        let next = AtomicUsize::new(0);
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        let results: Vec<Result<Vec<PathBuf>>> = thread::scope(|scope| {
            let worker = || self.work(folder, &chunks, &next, &bar);
            let handles: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or_else(|_| bail!("a compile thread panicked")))
                .collect()
        });
        bar.finish_and_clear();
        Ok(results.into_iter().collect::<Result<Vec<_>>>()?.concat())
    }

    /// Takes chunks until none is left.
    fn work(
        &self,
        folder: &Path,
        chunks: &[&[String]],
        next: &AtomicUsize,
        bar: &ProgressBar,
    ) -> Result<Vec<PathBuf>> {
        let mut objects = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(files) = chunks.get(number) else { return Ok(objects) };
            objects.extend(self.compile_chunk(folder, number, files)?);
            bar.inc(1);
        }
    }

    /// One object from all files; where they do not get along in one translation unit, one from each.
    fn compile_chunk(&self, folder: &Path, number: usize, files: &[String]) -> Result<Vec<PathBuf>> {
        match self.compile_unit(folder, &format!("chunk-{number}"), files) {
            Ok(object) => Ok(vec![object]),
            Err(error) => {
                crate::progress::say(&format!("RocksDB: chunk {number} is compiled file by file: {error:#}"));
                let single = |(index, file): (usize, &String)| {
                    self.compile_unit(folder, &format!("chunk-{number}-{index}"), std::slice::from_ref(file))
                };
                files.iter().enumerate().map(single).collect()
            }
        }
    }

    fn compile_unit(&self, folder: &Path, name: &str, files: &[String]) -> Result<PathBuf> {
        let object = folder.join(format!("{name}.o"));
        if object.exists() {
            // An earlier call was interrupted after it.
            return Ok(object);
        }
        let unit = folder.join(format!("{name}.cc"));
        let mut text = String::new();
        for file in files {
            writeln!(text, "#include \"{}\"", self.root.join(file).display())?;
        }
        fs::write(&unit, text)?;
        let unfinished = folder.join(format!("{name}.unfinished"));
        let output = self
            .compiler()
            .arg("-o")
            .arg(&unfinished)
            .arg(&unit)
            .output()
            .context("c++ cannot be started")?;
        fs::remove_file(&unit)?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let first = errors.lines().find(|line| line.contains("error")).unwrap_or("no reason given");
            bail!("{first}");
        }
        fs::rename(&unfinished, &object)?;
        Ok(object)
    }

    fn compiler(&self) -> Command {
        let mut compiler = Command::new("c++");
        compiler.current_dir(&self.root);
        compiler.args(["-c", "-std=c++20", "-O2", "-fPIC", "-ffunction-sections", "-fdata-sections", "-w"]);
        compiler.args(["-include", "cstdint"]);
        if cfg!(target_arch = "x86_64") {
            // Every x86-64 server of the last fifteen years has them; without, checksums are slow.
            compiler.args(["-msse4.2", "-mpclmul"]);
        }
        compiler.args(DEFINES.map(|define| format!("-D{define}")));
        compiler.args(["-Irocksdb/include", "-Irocksdb", "-I."]).arg("-I").arg(&self.lz4);
        compiler
    }
}

/// Packs the objects; the library appears whole or not at all.
fn archive(folder: &Path, objects: &[PathBuf]) -> Result<()> {
    let unfinished = folder.join("unfinished.a");
    if unfinished.exists() {
        fs::remove_file(&unfinished)?;
    }
    workspace::run(Command::new("ar").arg("crs").arg(&unfinished).args(objects))?;
    fs::rename(&unfinished, folder.join(LIBRARY))?;
    Ok(())
}
