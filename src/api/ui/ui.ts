/**
 * The page, from memory: dist/web is read once, at the first request, and kept as it is and compressed. Nothing that the
 * page loads comes from elsewhere, which its policy also forbids.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type LiveDeps, registerLive } from './live.ts';

export interface UiDeps extends LiveDeps {
  /** Where the bundled page lies. */
  readonly folder: string;
}

/** Places of the page; `/graph` is what links of Prometheus 2 say. */
const PLACES = ['/', '/scaling', '/scaling/why', '/query', '/graph', '/cardinality', '/status'];

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const HEADERS = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  vary: 'Accept-Encoding',
};

interface Asset {
  readonly type: string;
  readonly bytes: Buffer;
  readonly zipped: Buffer;
}

export function registerUi(app: FastifyInstance, deps: UiDeps): void {
  let assets: ReadonlyMap<string, Asset> | null = null;
  const load = (): ReadonlyMap<string, Asset> => {
    assets ??= readAssets(deps.folder);
    return assets;
  };
  const plugin = async (scope: FastifyInstance): Promise<void> => {
    for (const url of PLACES) {
      scope.get(url, async (request, reply) => sendAsset(load().get('index.html'), 'no-cache', request, reply));
    }
    scope.get('/assets/:name', async (request, reply) => {
      const { name } = request.params as { readonly name: string };
      // A name with a hash in it never means anything else.
      const caching = /-[A-Z0-9]{8}\.\w+$/.test(name) ? 'public, max-age=31536000, immutable' : 'no-cache';
      return sendAsset(load().get(`assets/${name}`), caching, request, reply);
    });
  };
  void app.register(plugin);
  registerLive(app, deps);
}

function sendAsset(
  asset: Asset | undefined,
  caching: string,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  if (asset === undefined) return reply.code(404).type('text/plain; charset=utf-8').send('404 page not found\n');
  reply.headers(HEADERS).header('cache-control', caching).type(asset.type);
  if (!/\bgzip\b/.test(request.headers['accept-encoding'] ?? '')) return reply.send(asset.bytes);
  return reply.header('content-encoding', 'gzip').send(asset.zipped);
}

/** Empty if the page was not built: then its places are not found. */
function readAssets(folder: string): ReadonlyMap<string, Asset> {
  const assets = new Map<string, Asset>();
  for (const name of namesBelow(folder)) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const bytes = readFileSync(join(folder, name));
    assets.set(name, { type, bytes, zipped: gzipSync(bytes) });
  }
  return assets;
}

function namesBelow(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => name.replaceAll('\\', '/'));
  } catch {
    return [];
  }
}
