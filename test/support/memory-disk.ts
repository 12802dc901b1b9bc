/**
 * A disk that a test owns: it forgets what was not synced, fails when it is told to, and lets bytes be changed. What is
 * synced is what a disk promises to keep: bytes by `sync`, names by `syncFolder`.
 */
import type { Files, OpenFile, ReadableFile } from '../../src/tsdb/files.ts';

interface Inode {
  bytes: Buffer;
  synced: number;
}

export interface Operation {
  readonly kind:
    | 'makeFolder'
    | 'list'
    | 'create'
    | 'open'
    | 'read'
    | 'write'
    | 'sync'
    | 'rename'
    | 'remove'
    | 'syncFolder';
  readonly path: string;
  /** How many operations came before. */
  readonly index: number;
}

export class MemoryDisk implements Files {
  /** Names as they are, and as they would be after a power loss. */
  names = new Map<string, Inode>();
  #kept = new Map<string, Inode>();
  operations = 0;
  /** Asked before each operation: an errno to fail with, or null. A write that fails with ENOSPC is half done. */
  fault: (operation: Operation) => string | null = () => null;
  /** Awaited before each write: a slow disk. */
  beforeWrite: () => Promise<void> = async () => undefined;

  async makeFolder(path: string): Promise<void> {
    this.#ask('makeFolder', path);
  }

  async list(path: string): Promise<readonly string[]> {
    this.#ask('list', path);
    const prefix = `${path}/`;
    return [...this.names.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }

  async create(path: string): Promise<OpenFile> {
    this.#ask('create', path);
    if (this.names.has(path)) throw errno('EEXIST', path);
    const inode: Inode = { bytes: Buffer.alloc(0), synced: 0 };
    this.names.set(path, inode);
    return {
      write: async (parts) => {
        await this.beforeWrite();
        const code = this.#code('write', path);
        const all = Buffer.concat(parts);
        const taken = code === null ? all : all.subarray(0, code === 'ENOSPC' ? all.length >>> 1 : 0);
        inode.bytes = Buffer.concat([inode.bytes, taken]);
        if (code !== null) throw errno(code, path);
      },
      sync: async () => {
        this.#ask('sync', path);
        inode.synced = inode.bytes.length;
      },
      close: async () => undefined,
    };
  }

  async open(path: string): Promise<ReadableFile> {
    this.#ask('open', path);
    const inode = this.names.get(path);
    if (inode === undefined) throw errno('ENOENT', path);
    return {
      bytes: inode.bytes.length,
      read: async (into, position) => {
        this.#ask('read', path);
        const part = inode.bytes.subarray(position, position + into.length);
        into.set(part);
        return part.length;
      },
      close: async () => undefined,
    };
  }

  async rename(from: string, to: string): Promise<void> {
    this.#ask('rename', from);
    const inode = this.names.get(from);
    if (inode === undefined) throw errno('ENOENT', from);
    this.names.delete(from);
    this.names.set(to, inode);
  }

  async remove(path: string): Promise<void> {
    this.#ask('remove', path);
    this.names.delete(path);
  }

  async syncFolder(path: string): Promise<void> {
    this.#ask('syncFolder', path);
    const isHere = (name: string): boolean => name.slice(0, name.lastIndexOf('/')) === path;
    for (const name of [...this.#kept.keys()]) if (isHere(name)) this.#kept.delete(name);
    for (const [name, inode] of this.names) if (isHere(name)) this.#kept.set(name, inode);
  }

  /**
   * The disk after a power loss: names and bytes that were synced are there; of what was not, whatever `keep` says of each
   * file (a part from 0 to 1 of the bytes behind the synced ones).
   */
  powerLoss(keep: () => number): MemoryDisk {
    const after = new MemoryDisk();
    const names = new Map([...this.#kept, ...(keep() < 0.5 ? [] : this.names)]);
    for (const [name, { bytes, synced }] of names) {
      const left = synced + Math.floor((bytes.length - synced) * keep());
      const copy: Inode = { bytes: Buffer.from(bytes.subarray(0, left)), synced: left };
      after.names.set(name, copy);
      after.#kept.set(name, copy);
    }
    return after;
  }

  /** The disk as another process finds it after this one was killed: all that was written is there. */
  copy(): MemoryDisk {
    const after = new MemoryDisk();
    for (const [name, { bytes }] of this.names) {
      const inode: Inode = { bytes: Buffer.from(bytes), synced: bytes.length };
      after.names.set(name, inode);
      after.#kept.set(name, inode);
    }
    return after;
  }

  #ask(kind: Operation['kind'], path: string): void {
    const code = this.#code(kind, path);
    if (code !== null) throw errno(code, path);
  }

  #code(kind: Operation['kind'], path: string): string | null {
    return this.fault({ kind, path, index: this.operations++ });
  }
}

function errno(code: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
