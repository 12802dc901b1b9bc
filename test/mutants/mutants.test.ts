/** The list of mutants fits the sources: each text is there exactly once, and each test that must fail is there. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';

interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  readonly test: string;
  readonly fails: string;
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

test('the list of mutants fits the sources', async (t) => {
  const mutants = JSON.parse(read('test/mutants/mutants.json')) as readonly Mutant[];
  t.ok(mutants.length >= 5);
  t.equal(new Set(mutants.map(({ name }) => name)).size, mutants.length);
  for (const { name, file, find, replace, test: path, fails } of mutants) {
    t.equal(read(file).split(find).length, 2, `${name}: once in ${file}`);
    t.not(find, replace);
    t.ok(read(path).includes(`test('${fails}'`), `${name}: ${path} has its test`);
  }
});
