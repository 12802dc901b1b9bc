import { test } from 'tap';
import { createLogger, type LoggerOptions } from '../../src/telemetry/log.ts';

function log(options: Omit<LoggerOptions, 'destination'>) {
  const lines: string[] = [];
  return { logger: createLogger({ ...options, destination: { write: (line) => void lines.push(line) } }), lines };
}

test('JSON lines have the level as text and the time in ISO form, and nothing of the machine', async (t) => {
  const { logger, lines } = log({ level: 'info', format: 'json' });
  logger.info({ event: 'ready', listen: { web: '127.0.0.1:1' } }, 'listening');
  logger.debug('not shown');
  t.equal(lines.length, 1);
  const { time, ...rest } = JSON.parse(lines[0]!);
  t.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  t.strictSame(rest, { level: 'info', event: 'ready', listen: { web: '127.0.0.1:1' }, msg: 'listening' });
  t.ok(lines[0]!.endsWith('}\n'));
});

test('logfmt lines are one line each, flat, and quoted where needed', async (t) => {
  const { logger, lines } = log({ level: 'debug', format: 'logfmt' });
  const f = (object: object, message: string | undefined, want: string) => {
    lines.length = 0;
    logger.warn(object, message);
    t.equal(lines.length, 1);
    t.equal(lines[0]!.replace(/^time=\S+ /, ''), `level=warn ${want}\n`);
  };
  f({}, 'plain', 'msg=plain');
  f({}, 'two words', 'msg="two words"');
  f({ a: 1, b: true, c: null, d: 'x=y', e: '' }, 'm', 'msg=m a=1 b=true c=null d="x=y" e=""');
  f(
    { listen: { web: '127.0.0.1:9090', otlp: { grpc: 'off' } } },
    'm',
    'msg=m listen.web=127.0.0.1:9090 listen.otlp.grpc=off',
  );
  f({ list: [1, 'a'] }, 'm', 'msg=m list="[1,\\"a\\"]"');
  f({ 'odd key=': 1 }, 'm', 'msg=m odd_key_=1');
  f({ text: 'line\nbreak\u001b[31m' }, undefined, 'text="line\\nbreak\\u001b[31m"');
  lines.length = 0;
  logger.error({ err: new TypeError('broken') }, 'failed');
  t.match(
    lines[0],
    /^time=\S+ level=error msg=failed err\.type=TypeError err\.message=broken err\.stack="TypeError: broken\\n[^\n]*"\n$/,
  );
  logger.child({ surface: 'keda' }).info('hello');
  t.match(lines[1], /^time=\S+ level=info msg=hello surface=keda\n$/);
});
