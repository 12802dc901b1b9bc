/** The API as a page without a script: each operation with its parameters, its replies and a command to copy. */
import { createHash } from 'node:crypto';

interface Operation {
  readonly tags?: readonly string[];
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly description?: string;
    readonly example?: unknown;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema?: { description?: string } }>> };
  readonly responses?: Readonly<Record<string, { readonly description: string }>>;
}

interface Document {
  readonly info: { readonly title: string; readonly version: string };
  readonly tags?: readonly { readonly name: string; readonly description?: string }[];
  readonly paths?: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const STYLE = `
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886; }
details { border: 1px solid #8886; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .5rem; background: #8882; border-radius: 4px; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-top: 1px solid #8884; }
.method { display: inline-block; min-width: 3.2rem; font-weight: 600; }
`;

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

export const OPENAPI_PAGE_HEADERS = {
  'content-security-policy': `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'`,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
};

export function openApiPage(made: object): string {
  const { info, tags = [], paths = {} } = made as Document;
  const sections = tags.map(({ name, description = '' }) => {
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([, { tags: of = [] }]) => of.includes(name))
        .map(([method, operation]) => operationHtml(path, method.toUpperCase(), operation)),
    );
    return operations.length === 0 ? '' : `<h2>${escapeHtml(description)}</h2>\n${operations.join('')}`;
  });
  const title = `${info.title} ${info.version}: HTTP API`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title><style>${STYLE}</style></head>
<body><h1>${escapeHtml(title)}</h1>
<p>As a document for tools: <a href="openapi.json">openapi.json</a>. The page: <a href="./">Tidegauge</a>.</p>
${sections.join('\n')}
</body></html>
`;
}

function operationHtml(path: string, method: string, operation: Operation): string {
  const { summary = '', description = '', parameters = [], requestBody, responses = {} } = operation;
  const bodies = Object.entries(requestBody?.content ?? {});
  const rows = parameters.map(({ name, in: place, required = false, description: says = '' }) =>
    row([code(name), `${place}${required ? ', required' : ''}`, escapeHtml(says)]),
  );
  const replies = Object.entries(responses).map(([status, { description: says }]) =>
    row([code(status), escapeHtml(says)]),
  );
  return `<details><summary><span class="method">${method}</span> ${code(path)} ${escapeHtml(summary)}</summary>
${description === '' ? '' : `<p>${escapeHtml(description)}</p>\n`}<pre>${escapeHtml(commandOf(path, method, operation))}</pre>
${rows.length === 0 ? '' : `<table><tr><th>parameter</th><th>in</th><th>what it is</th></tr>${rows.join('')}</table>\n`}${bodies
  .map(([type, { schema }]) => `<p>Body: ${code(type)} ${escapeHtml(schema?.description ?? '')}</p>\n`)
  .join('')}<table><tr><th>status</th><th>when</th></tr>${replies.join('')}</table></details>
`;
}

/** A command to copy; parameters that have an example are in it. */
function commandOf(path: string, method: string, { parameters = [], requestBody }: Operation): string {
  const exampleOf = (name: string): string =>
    String(parameters.find((one) => one.name === name)?.example ?? `<${name}>`);
  const url = path.replaceAll(/\{([^}]+)\}/g, (_, name: string) => encodeURIComponent(exampleOf(name)));
  const asked = parameters.filter(({ in: place, example }) => place === 'query' && example !== undefined);
  const data = asked.map(({ name }) => ` --data-urlencode '${name}=${exampleOf(name)}'`).join('');
  const types = Object.keys(requestBody?.content ?? {});
  const isForm = types.length === 0 || types.includes('application/x-www-form-urlencoded');
  const body = isForm ? '' : ` -H 'Content-Type: ${types[0]}' --data-binary @body`;
  const how = method === 'GET' ? (data === '' ? '' : ' -G') : ` -X ${method}`;
  return `curl${how}${data}${body} http://localhost:9090${url}`;
}

function row(cells: readonly string[]): string {
  return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
}

function code(text: string): string {
  return `<code>${escapeHtml(text)}</code>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
