/**
 * What a rule makes of series names and labels: which series it takes, under which API name, and which label stands for
 * which kind of object. Source: kubernetes-sigs/prometheus-adapter, pkg/naming.
 */
import { executeTemplate } from '../go-template/execute.ts';
import { goQuote } from '../go-template/functions.ts';
import { parseTemplate, type Template } from '../go-template/parse.ts';
import { TemplateError } from '../go-template/tokens.ts';
import type { DiscoveryRule, ResourceMapping } from './config.ts';
import { type Kind, type Kinds, qualifiedName } from './kinds.ts';
import { compileRegex, expandTemplate, type Regex } from './regex.ts';

/** A fault of a rule, in the adapter's words. */
export class RuleError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'RuleError';
  }
}

/** The API name of a series, or null if the rule does not take it. */
export type NameOf = (seriesName: string) => string | null;

export function compileNames({ seriesQuery, seriesFilters, name }: DiscoveryRule): NameOf {
  const query = goQuote(seriesQuery);
  const filters = within(`unable to generate series name filter associated with series query ${query}`, () =>
    seriesFilters.map(compileFilter),
  );
  const matches = within(
    `unable to generate series name filter from name rules associated with series query ${query}`,
    () => compileSeriesRegex(name.matches === '' ? '.*' : name.matches),
  );
  const as = name.as !== '' ? name.as : defaultName(matches, name.matches, query);
  return (seriesName) => {
    const groups = matches.find(seriesName);
    if (groups === null || !filters.every((passes) => passes(seriesName))) return null;
    return expandTemplate(as, groups);
  };
}

function compileFilter({ is, isNot }: { readonly is: string; readonly isNot: string }): (name: string) => boolean {
  if (is !== '' && isNot !== '') {
    throw new RuleError(
      `cannot have both an \`is\` (${goQuote(is)}) and \`isNot\` (${goQuote(isNot)}) expression in a single filter`,
    );
  }
  if (is === '' && isNot === '') throw new RuleError('must have either an `is` or `isNot` expression in a filter');
  const regex = compileSeriesRegex(is === '' ? isNot : is);
  return (name) => regex.matches(name) === (is !== '');
}

function compileSeriesRegex(pattern: string): Regex {
  try {
    return compileRegex(pattern);
  } catch (error) {
    throw new RuleError(`unable to compile series filter ${goQuote(pattern)}: ${(error as Error).message}`);
  }
}

function defaultName({ groupCount }: Regex, matches: string, query: string): string {
  if (groupCount === 0) return '$0';
  if (groupCount === 1) return '$1';
  throw new RuleError(
    `must specify an 'as' value for name matcher ${goQuote(matches)} associated with series query ${query}`,
  );
}

/** Adds what was being done to a rule's fault. */
export function within<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof RuleError) throw new RuleError(`${what}: ${error.message}`);
    throw error;
  }
}

/** Which label stands for which kind of object, both ways. */
export class ResourceLabels {
  readonly #kinds: Kinds;
  readonly #byLabel: ReadonlyMap<string, Kind>;
  readonly #template: { readonly template: Template; readonly extract: Regex } | null;

  /** Throws `RuleError`. */
  constructor({ overrides, template }: ResourceMapping, kinds: Kinds) {
    this.#kinds = kinds;
    this.#byLabel = new Map([...overrides].map(([label, wanted]) => [label, knownKind(kinds, wanted)]));
    this.#template = template === '' ? null : compileLabelTemplate(template);
  }

  /** Labels that stand for a kind by name, whatever the series. */
  get overrides(): ReadonlyMap<string, Kind> {
    return this.#byLabel;
  }

  get hasTemplate(): boolean {
    return this.#template !== null;
  }

  /** The kind that a label of a series stands for, or null. */
  kindOf(label: string): Kind | null {
    const known = this.#byLabel.get(label);
    if (known !== undefined) return known;
    const found = this.#template?.extract.find(label)?.byName;
    return found === undefined ? null : this.#kinds.find({ group: found.group ?? '', resource: found.resource ?? '' });
  }

  /** The label that stands for a kind; throws `RuleError`. */
  labelOf(kind: Kind): string {
    const wanted = qualifiedName(kind);
    for (const [label, known] of this.#byLabel) if (qualifiedName(known) === wanted) return label;
    if (this.#template === null) {
      throw new RuleError(
        `unable to convert resource ${wanted} into label: no generic resource label form specified for this metric`,
      );
    }
    return labelText(this.#template.template, kind.group.replace(/[.-]/g, '_'), kind.singular);
  }
}

function knownKind(kinds: Kinds, wanted: { readonly group: string; readonly resource: string }): Kind {
  const found = kinds.find(wanted);
  if (found !== null) return found;
  const { group, resource } = wanted;
  throw new RuleError(
    `unable to normalize group-resource {${group} ${resource}}: no matches for ${group}/, Resource=${resource}`,
  );
}

function labelText(template: Template, group: string, resource: string): string {
  return executeTemplate(template, { Group: group, Resource: resource }, 'naming.resourceLabelTemplate');
}

/** As an extractor the template is filled with groups; its own text is not escaped. */
function compileLabelTemplate(text: string): { readonly template: Template; readonly extract: Regex } {
  const template = parseNamed('resource-label', text, `unable to parse label template ${goQuote(text)}`);
  try {
    const pattern = `^${labelText(template, '(?P<group>.+?)', '(?P<resource>.+?)')}$`;
    const extract = compileRegex(pattern);
    if (!pattern.includes('(?P<resource>'))
      throw new Error('must include at least `{{.Resource}}` in the label template');
    return { template, extract };
  } catch (error) {
    throw new RuleError(`unable to generate label format from template ${goQuote(text)}: ${(error as Error).message}`);
  }
}

/** Parses a template; its faults carry its name and line, as Go writes them. */
export function parseNamed(name: string, text: string, what: string): Template {
  try {
    return parseTemplate(text);
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new RuleError(`${what}: template: ${name}:${error.line}: ${error.message}`);
  }
}
