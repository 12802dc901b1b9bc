/** The configuration in effect as a YAML file would have it: every setting in its place, and the external metrics. */
import { stringify } from 'yaml';
import type { Config } from './schema.ts';

type Level = { [key: string]: Level | string };

/** Nothing in it is a secret: settings name the files that hold them. */
export function effectiveYaml({ flags, externalMetrics }: Pick<Config, 'flags' | 'externalMetrics'>): string {
  const root: Level = {};
  for (const [name, text] of Object.entries(flags)) {
    // The file cannot name itself.
    if (name === 'config.file') continue;
    const path = name.split('.');
    const last = path.pop()!;
    let level = root;
    for (const part of path) {
      level[part] ??= {};
      level = level[part] as Level;
    }
    level[last] = text;
  }
  const metrics = externalMetrics.map(({ name, query, namespaced, policy }) => ({
    name,
    query,
    namespaced,
    ...policy,
  }));
  return stringify(metrics.length === 0 ? root : { ...root, externalMetrics: metrics });
}
