/** The configuration in effect as a YAML file would have it: every setting in its place, the metrics, and what
 * is scraped. */
import { stringify } from 'yaml';
import type { Config } from './schema.ts';

type Level = { [key: string]: Level | string };

/** Nothing in it is a secret: settings name the files that hold them, and those of scrapes are left out. */
export function effectiveYaml({
  flags,
  externalMetrics,
  customMetrics,
  scrape,
}: Pick<Config, 'flags' | 'externalMetrics' | 'customMetrics' | 'scrape'>): string {
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
  const ofObjects = customMetrics.map(({ name, resource, query, label, namespaceLabel, namespaced, policy }) => ({
    name,
    resource,
    query,
    ...(label === '' ? {} : { label }),
    ...(namespaceLabel === '' ? {} : { namespaceLabel }),
    namespaced,
    ...policy,
  }));
  return stringify({
    ...root,
    ...(metrics.length === 0 ? {} : { externalMetrics: metrics }),
    ...(ofObjects.length === 0 ? {} : { customMetrics: ofObjects }),
    ...(scrape === null ? {} : { scrape: scrape.written }),
  });
}
