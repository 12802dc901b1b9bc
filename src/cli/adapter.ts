/** Rules of prometheus-adapter, compiled as the daemon compiles them, and what becomes of them for one made-up request. */
import { BUILT_IN_KINDS, type Kind, Kinds } from '../api/kubernetes/adapter/kinds.ts';
import {
  compileResourceRule,
  compileRule,
  externalParts,
  objectParts,
  type Rule,
  type Section,
} from '../api/kubernetes/adapter/rules.ts';
import { type AdapterFile, parseAdapterFile } from '../config/adapter-file.ts';
import { parseSelectorText, readExpression } from './expressions.ts';
import { itemsAt, type Manifest, nodeAt, textAt } from './manifests.ts';

export interface Finding {
  readonly at: string;
  readonly isFault: boolean;
  readonly text: string;
}

/** A cluster has kinds of its own, which no file tells: whatever is not built in counts as one of them. */
class AnyKinds extends Kinds {
  override find(asked: { readonly group: string; readonly resource: string }): Kind {
    const { group, resource } = asked;
    const made = { group, resource, version: 'v1', singular: resource, kind: resource, namespaced: true };
    return BUILT_IN_KINDS.find(asked) ?? made;
  }
}

const KINDS = new AnyKinds([]);
const SECTIONS: readonly Section[] = ['rules', 'externalRules'];
const RESOURCES = ['cpu', 'memory'] as const;
const SOME = 'some';

export function adapterFindings(manifest: Manifest): readonly Finding[] {
  const { root, at, text } = manifest;
  let file: AdapterFile;
  try {
    file = parseAdapterFile(text);
  } catch (error) {
    return [{ at: at(root), isFault: true, text: (error as Error).message }];
  }
  return [...SECTIONS.flatMap((section) => ruleFindings(manifest, file, section)), ...resourceFindings(manifest, file)];
}

function ruleFindings({ root, at }: Manifest, file: AdapterFile, section: Section): Finding[] {
  const nodes = itemsAt(root, section);
  return file[section].map((rule, i) => {
    const node = nodes[i];
    const where = `${section}[${i}] ${rule.seriesQuery}`;
    let of = 'seriesQuery';
    const fault = faultOf(() => {
      const compiled = compileRule(rule, KINDS, parseSelectorText);
      of = 'metricsQuery';
      readExpression(compiled.query.promql(requestOf(compiled, section)));
    });
    if (fault === null) return { at: at(node), isFault: false, text: where };
    return { at: at(nodeAt(node, of) ?? node), isFault: true, text: `${where}: ${fault}` };
  });
}

function resourceFindings({ root, at }: Manifest, { resourceRules }: AdapterFile): Finding[] {
  if (resourceRules === null) return [];
  return RESOURCES.map((resource) => {
    const where = `resourceRules.${resource} ${textAt(root, 'resourceRules', resource, 'containerQuery')}`;
    const fault = faultOf(() => {
      const { labels, containerQuery, nodeQuery } = compileResourceRule(resourceRules[resource], KINDS);
      for (const [query, kind] of [
        [containerQuery, 'pods'],
        [nodeQuery, 'nodes'],
      ] as const) {
        readExpression(query.promql(objectParts(labels, KINDS, '', oneOf(kindOf(kind)), [])));
      }
    });
    const node = nodeAt(root, 'resourceRules', resource);
    return { at: at(node), isFault: fault !== null, text: fault === null ? where : `${where}: ${fault}` };
  });
}

/** One object of a kind that the rule maps a label to. */
function requestOf({ labels, namespaced }: Rule, section: Section) {
  if (section === 'externalRules') return externalParts({ labels, namespaced }, KINDS, SOME, SOME, []);
  const mapped = [...labels.overrides.values()];
  const kind = mapped.find(({ resource }) => resource !== 'namespaces') ?? mapped[0] ?? kindOf('pods');
  return objectParts(labels, KINDS, SOME, oneOf(kind), []);
}

function kindOf(resource: string): Kind {
  return KINDS.find({ group: '', resource });
}

function oneOf(kind: Kind) {
  return { kind, names: [SOME], namespace: SOME };
}

function faultOf(read: () => void): string | null {
  try {
    read();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
