/**
 * Reads a Dockerfile and does what its stages say in folders of this machine, where no container engine runs. Knows the
 * instructions that ours has and refuses every other, so that a step cannot be left out unnoticed.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const KNOWN = new Set(['ARG', 'FROM', 'WORKDIR', 'COPY', 'RUN', 'USER', 'ENV', 'LABEL', 'EXPOSE', 'ENTRYPOINT', 'CMD']);

/** Stages in order: `{from, name, steps: [{word, text}]}`. Arguments of before the first stage are filled in with their defaults. */
export function parseDockerfile(text) {
  const args = new Map();
  const stages = [];
  for (const { word, text: written } of instructions(text)) {
    const rest = written.replace(/\$\{(\w+)\}/g, (_, name) => args.get(name) ?? fail(`unknown argument ${name}`));
    if (word === 'ARG') {
      if (stages.length > 0) fail('ARG inside a stage is not known here');
      const [name, value] = rest.split('=');
      args.set(name, value ?? fail(`ARG ${name} has no default`));
    } else if (word === 'FROM') {
      const [, from, name] = /^(\S+)(?: AS (\S+))?$/i.exec(rest) ?? fail(`FROM ${rest}`);
      stages.push({ from, name: name ?? null, steps: [] });
    } else stages.at(-1).steps.push({ word, text: rest });
  }
  return stages;
}

function instructions(text) {
  const lines = text.split('\n').filter((line) => !/^\s*(?:#|$)/.test(line));
  const joined = lines.join('\n').replaceAll(/\\\n\s*/g, '');
  return joined.split('\n').map((line) => {
    const [, word, rest] = /^([A-Z]+) +(.*)$/.exec(line) ?? fail(line);
    if (!KNOWN.has(word)) fail(`${word} is not known here`);
    return { word, text: rest.trim() };
  });
}

function fail(what) {
  throw new Error(`cannot read the Dockerfile: ${what}`);
}

/** What a container of the stage is started with. */
export function settingsOf(stage) {
  const settings = { user: 'root', workdir: '/', env: {}, ports: [], command: [] };
  for (const { word, text } of stage.steps) {
    if (word === 'USER') settings.user = text;
    else if (word === 'WORKDIR') settings.workdir = text;
    else if (word === 'EXPOSE') settings.ports = text.split(' ').map(Number);
    else if (word === 'ENTRYPOINT') settings.command = JSON.parse(text);
    else if (word === 'CMD') settings.command = [...settings.command, ...JSON.parse(text)];
    else if (word === 'ENV') for (const pair of text.split(' ')) settings.env[pair.split('=')[0]] = pair.split('=')[1];
  }
  return settings;
}

/**
 * Does the steps of a stage below `root`: COPY and WORKDIR there, RUN by this machine's shell in the folder that they are in.
 * `context` is the folder of the build, `roots` where earlier stages are, `env` what RUN gets.
 */
export function runStage(stage, { root, context, roots = {}, env = {} }) {
  let workdir = '/';
  const ignored = ignoredIn(context);
  for (const { word, text } of stage.steps) {
    if (word === 'WORKDIR') workdir = text;
    if (word === 'WORKDIR') mkdirSync(join(root, workdir), { recursive: true });
    else if (word === 'COPY') copy(text, { root, workdir, context, roots, ignored });
    else if (word === 'RUN') run(text, join(root, workdir), env);
  }
}

/** Names at the top of the build's folder that its steps do not see. */
function ignoredIn(context) {
  const file = join(context, '.dockerignore');
  const names = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  for (const name of names) if (!/^[\w.-]+$/.test(name)) throw new Error(`cannot read .dockerignore: ${name}`);
  return new Set(names);
}

function copy(text, { root, workdir, context, roots, ignored }) {
  const [, stage, rest] = /^(?:--from=(\S+) )?(.*)$/.exec(text);
  const paths = rest.split(/ +/);
  const wanted = paths.pop();
  const target = wanted.startsWith('/') ? join(root, wanted) : join(root, workdir, wanted);
  for (const path of paths) {
    if (stage === undefined && ignored.has(path.replace(/^\.\//, '').split('/')[0]))
      fail(`COPY ${path}: .dockerignore hides it`);
    const source = join(stage === undefined ? context : (roots[stage] ?? fail(`no stage ${stage}`)), path);
    // A folder is copied by what is in it; a file into a folder, if the target looks like one.
    const into = !statSync(source).isDirectory() && /(?:^\.|\/)$/.test(wanted) ? join(target, basename(path)) : target;
    mkdirSync(dirname(into), { recursive: true });
    cpSync(source, into, { recursive: true });
  }
}

function run(command, cwd, env) {
  const done = spawnSync('sh', ['-c', command], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`RUN ${command} ended with ${done.status}:\n${done.stdout}${done.stderr}`);
}

/** Files and links below a folder, by their path in it, sorted. */
export function filesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    .sort();
}
