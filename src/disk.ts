/** The real disk (tsdb/files.ts says what is wanted of one). */
import { write, writev } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import type { Files, OpenFile, ReadableFile } from './tsdb/files.ts';

export const disk: Files = {
  async makeFolder(path) {
    await mkdir(path, { recursive: true });
  },
  list: (path) => readdir(path),
  async create(path) {
    return writable(await open(path, 'wx'));
  },
  async open(path) {
    return readable(await open(path, 'r'));
  },
  rename,
  async remove(path) {
    await rm(path, { force: true });
  },
  async syncFolder(path) {
    const folder = await open(path, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  },
};

function writable(file: FileHandle): OpenFile {
  return {
    async write(parts) {
      let left = parts;
      while (left.length > 0) {
        const bytesWritten = await writeSome(file.fd, left);
        // A disk that takes nothing and says nothing would keep us here for ever.
        if (bytesWritten === 0) throw new Error('cannot write: the disk took nothing');
        left = behind(left, bytesWritten);
      }
    },
    sync: () => file.datasync(),
    close: () => file.close(),
  };
}

/** The callbacks of node:fs cost half of what its promises do, and the log writes thousands of times a second. */
function writeSome(fd: number, parts: readonly Uint8Array[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, bytesWritten: number): void =>
      error === null ? resolve(bytesWritten) : reject(error);
    if (parts.length === 1) write(fd, parts[0]!, done);
    else writev(fd, parts, done);
  });
}

/** What is left of some parts after so many bytes: a write may take less than all. */
function behind(parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skipped = bytes;
  const left: Uint8Array[] = [];
  for (const part of parts) {
    if (skipped < part.length) left.push(part.subarray(skipped));
    skipped = Math.max(0, skipped - part.length);
  }
  return left;
}

async function readable(file: FileHandle): Promise<ReadableFile> {
  const { size } = await file.stat();
  return {
    bytes: size,
    async read(into, position) {
      let done = 0;
      while (done < into.length) {
        const { bytesRead } = await file.read(into, done, into.length - done, position + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return done;
    },
    close: () => file.close(),
  };
}
