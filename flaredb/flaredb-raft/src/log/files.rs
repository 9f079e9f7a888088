//! Where the log engine's files are: on the disk, or in a simulation.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission, WriteExt};

use crate::simulation::{SimulatedDisk, SimulatedFile};

type RealHandle = <DefaultFileSystem as FileSystem>::Handle;
type RealReader = <DefaultFileSystem as FileSystem>::Reader;
type RealWriter = <DefaultFileSystem as FileSystem>::Writer;

/// The file system that the log engine sees.
pub(crate) enum Files {
    Real(DefaultFileSystem),
    Simulated(Arc<dyn SimulatedDisk>),
}

/// An open file.
pub(crate) enum File {
    Real(Arc<RealHandle>),
    Simulated(Arc<dyn SimulatedFile>),
}

/// A place in a file; `R` is what stands there in a real one.
pub(crate) enum Cursor<R> {
    Real(R),
    Simulated { file: Arc<dyn SimulatedFile>, offset: usize },
}

impl Files {
    pub(super) fn real() -> Self {
        Self::Real(DefaultFileSystem)
    }
}

fn mixed() -> io::Error {
    io::Error::other("a file of another file system")
}

impl FileSystem for Files {
    type Handle = File;
    type Reader = Cursor<RealReader>;
    type Writer = Cursor<RealWriter>;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        match self {
            Self::Real(files) => files.create(path).map(|handle| File::Real(Arc::new(handle))),
            Self::Simulated(disk) => disk.create(path.as_ref()).map(File::Simulated),
        }
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<File> {
        match self {
            Self::Real(files) => files.open(path, permission).map(|handle| File::Real(Arc::new(handle))),
            Self::Simulated(disk) => disk.open(path.as_ref()).map(File::Simulated),
        }
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        match self {
            Self::Real(files) => files.delete(path),
            Self::Simulated(disk) => disk.delete(path.as_ref()),
        }
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        match self {
            Self::Real(files) => files.rename(from, to),
            Self::Simulated(disk) => disk.rename(from.as_ref(), to.as_ref()),
        }
    }

    fn reuse<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        match self {
            Self::Real(files) => files.reuse(from, to),
            Self::Simulated(disk) => disk.rename(from.as_ref(), to.as_ref()),
        }
    }

    fn new_reader(&self, file: Arc<File>) -> io::Result<Self::Reader> {
        match (self, &*file) {
            (Self::Real(files), File::Real(handle)) => files.new_reader(Arc::clone(handle)).map(Cursor::Real),
            (_, File::Simulated(file)) => Ok(Cursor::Simulated { file: Arc::clone(file), offset: 0 }),
            (Self::Simulated(_), File::Real(_)) => Err(mixed()),
        }
    }

    fn new_writer(&self, file: Arc<File>) -> io::Result<Self::Writer> {
        match (self, &*file) {
            (Self::Real(files), File::Real(handle)) => files.new_writer(Arc::clone(handle)).map(Cursor::Real),
            (_, File::Simulated(file)) => Ok(Cursor::Simulated { file: Arc::clone(file), offset: 0 }),
            (Self::Simulated(_), File::Real(_)) => Err(mixed()),
        }
    }
}

impl Handle for File {
    fn truncate(&self, offset: usize) -> io::Result<()> {
        match self {
            Self::Real(handle) => handle.truncate(offset),
            Self::Simulated(file) => file.truncate(offset),
        }
    }

    fn file_size(&self) -> io::Result<usize> {
        match self {
            Self::Real(handle) => handle.file_size(),
            Self::Simulated(file) => file.size(),
        }
    }

    fn sync(&self) -> io::Result<()> {
        match self {
            Self::Real(handle) => handle.sync(),
            Self::Simulated(file) => file.sync(),
        }
    }
}

impl<R: Seek> Seek for Cursor<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (file, offset) = match self {
            Self::Real(real) => return real.seek(to),
            Self::Simulated { file, offset } => (file, offset),
        };
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => (*offset as u64).checked_add_signed(by),
            SeekFrom::End(by) => (file.size()? as u64).checked_add_signed(by),
        };
        let at = at.ok_or(io::ErrorKind::InvalidInput)?;
        *offset = usize::try_from(at).map_err(io::Error::other)?;
        Ok(at)
    }
}

impl<R: Read> Read for Cursor<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Real(real) => real.read(bytes),
            Self::Simulated { file, offset } => {
                let read = file.read_at(*offset, bytes)?;
                *offset += read;
                Ok(read)
            }
        }
    }
}

impl<R: Write> Write for Cursor<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Real(real) => real.write(bytes),
            Self::Simulated { file, offset } => {
                file.write_at(*offset, bytes)?;
                *offset += bytes.len();
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Real(real) => real.flush(),
            Self::Simulated { .. } => Ok(()),
        }
    }
}

impl<R: WriteExt> WriteExt for Cursor<R> {
    fn truncate(&mut self, offset: usize) -> io::Result<()> {
        match self {
            Self::Real(real) => real.truncate(offset),
            Self::Simulated { file, .. } => file.truncate(offset),
        }
    }

    fn allocate(&mut self, offset: usize, size: usize) -> io::Result<()> {
        match self {
            Self::Real(real) => real.allocate(offset, size),
            // Only the length of a real file is worth preparing.
            Self::Simulated { .. } => Ok(()),
        }
    }
}
