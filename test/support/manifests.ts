/**
 * Manifests as helm and kubectl make them, and what is wrong with them: each object is validated by the compiled JSON schemas
 * of kubernetes-models (core, KEDA, prometheus-operator, cert-manager), and typed against its interfaces, because those
 * schemas let unknown fields pass. TIDEGAUGE_KUBERNETES_MODELS names the folder in which the packages are installed.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { parseAllDocuments } from 'yaml';
import { runProgram, temporaryFolder } from './process.ts';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: tests look into objects of many kinds
  readonly [field: string]: any;
}

/** Packages by the end of their API groups. */
const PACKAGES: readonly (readonly [RegExp, string])[] = [
  [/^keda\.sh$/, '@kubernetes-models/keda'],
  [/^monitoring\.coreos\.com$/, '@kubernetes-models/prometheus-operator'],
  [/^cert-manager\.io$/, '@kubernetes-models/cert-manager'],
  [/^(|apps|batch|policy|autoscaling|[a-z.]+\.k8s\.io)$/, 'kubernetes-models'],
];
/** Kinds whose schemas no package has: only their shape is looked at. */
const WITHOUT_SCHEMA: ReadonlySet<string> = new Set([
  'OpenTelemetryCollector',
  'MachineDeployment',
  'Kustomization',
  'InferenceService',
]);

export function parseManifests(text: string): readonly Manifest[] {
  return parseAllDocuments(text)
    .map((document) => {
      if (document.errors.length > 0) throw document.errors[0];
      return document.toJS() as Manifest | null;
    })
    .filter((manifest) => manifest !== null);
}

/** What `helm template` makes of the chart, or its error. */
export async function helmTemplate(chart: string, flags: readonly string[]): Promise<readonly Manifest[]> {
  const done = await runProgram('helm', ['template', 'tidegauge', chart, '--namespace=monitoring', ...flags]);
  if (done.code !== 0) throw new Error(done.stderr);
  return parseManifests(done.stdout);
}

/** Where the packages of schemas are, or null. */
export function modelsFolder(): string | null {
  const folder = process.env.TIDEGAUGE_KUBERNETES_MODELS ?? '';
  return existsSync(join(folder, 'node_modules', 'kubernetes-models')) ? join(folder, 'node_modules') : null;
}

/** Why a test without them is skipped, or false. */
export function skipWithoutModels(): string | false {
  if (modelsFolder() !== null) return false;
  const reason = 'not installed: kubernetes-models, in the folder that TIDEGAUGE_KUBERNETES_MODELS names';
  if (process.env.TIDEGAUGE_REQUIRE_PROGRAMS === '1') throw new Error(`cannot check manifests: ${reason}`);
  return reason;
}

/** Everything that is wrong, one sentence each. */
export async function faultsOf(manifests: readonly Manifest[]): Promise<readonly string[]> {
  const faults: string[] = [];
  const typed: Manifest[] = [];
  for (const manifest of manifests) {
    if (WITHOUT_SCHEMA.has(manifest.kind)) {
      if (manifest.spec === undefined && manifest.kind !== 'Kustomization') faults.push(`${nameOf(manifest)}: no spec`);
      continue;
    }
    const fault = await validate(manifest);
    if (fault === null) typed.push(manifest);
    else faults.push(fault);
  }
  return [...faults, ...(await typeFaults(typed))];
}

function nameOf({ kind, metadata }: Manifest): string {
  return `${kind} ${metadata?.name}`;
}

/** `apps/v1` → the package's file of the kind, without its ending. */
function modelOf(manifest: Manifest): string | null {
  const [group, version] = manifest.apiVersion.includes('/')
    ? (manifest.apiVersion.split('/') as [string, string])
    : ['', manifest.apiVersion];
  const name = PACKAGES.find(([pattern]) => pattern.test(group))?.[1];
  if (name === undefined) return null;
  const path = join(modelsFolder()!, name, group, version, manifest.kind);
  return existsSync(`${path}.js`) ? path : null;
}

async function validate(manifest: Manifest): Promise<string | null> {
  const path = modelOf(manifest);
  if (path === null) return `${nameOf(manifest)}: no schema of ${manifest.apiVersion}`;
  const models = (await import(pathToFileURL(`${path}.js`).href)) as Record<
    string,
    new (
      data: unknown,
    ) => { validate(): void }
  >;
  try {
    new models[manifest.kind]!(manifest).validate();
    return null;
  } catch (error) {
    return `${nameOf(manifest)}: ${(error as Error).message}`;
  }
}

/** Unknown fields and wrong words, as the type checker tells them of literals. */
async function typeFaults(manifests: readonly Manifest[]): Promise<readonly string[]> {
  const folder = await temporaryFolder();
  try {
    const file = join(folder.path, 'manifests.ts');
    const lines = manifests.map((manifest, i) => {
      const type = `import(${JSON.stringify(modelOf(manifest))}).I${manifest.kind}`;
      return `export const m${i}: ${type} = ${JSON.stringify(manifest)};`;
    });
    writeFileSync(file, lines.join('\n'));
    const options = { noEmit: true, skipLibCheck: true, strict: true, types: [], module: 99, moduleResolution: 100 };
    const program = ts.createProgram([file], options);
    return program.getSemanticDiagnostics(program.getSourceFile(file)).map((diagnostic) => {
      const line = diagnostic.file!.getLineAndCharacterOfPosition(diagnostic.start!).line;
      return `${nameOf(manifests[line]!)}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, ' ')}`;
    });
  } finally {
    await folder.remove();
  }
}
