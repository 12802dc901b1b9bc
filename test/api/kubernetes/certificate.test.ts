import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { test } from 'tap';
import { generateCertificate } from '../../../src/api/kubernetes/certificate.ts';

const NAMES = [
  'localhost',
  '127.0.0.1',
  '::1',
  '2001:db8::12:0:1',
  'tidegauge.default.svc',
  `long.${'a'.repeat(60)}.${'b'.repeat(60)}.svc`,
];
const openssl = spawnSync('openssl', ['version']).status === 0;

test('the certificate is for its names, signed by its own CA', async (t) => {
  const nowMs = Date.UTC(2026, 10, 21);
  const { certPem, keyPem, caPem } = generateCertificate(NAMES, nowMs);
  const leaf = new X509Certificate(certPem);
  const ca = new X509Certificate(caPem);
  t.ok(leaf.checkIssued(ca));
  t.ok(leaf.verify(ca.publicKey));
  t.ok(ca.verify(ca.publicKey));
  t.equal(leaf.ca, false);
  t.equal(ca.ca, true);
  t.strictSame(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1'], 'server authentication only');
  for (const name of ['localhost', 'tidegauge.default.svc', NAMES[5]!]) t.equal(leaf.checkHost(name), name);
  for (const address of ['127.0.0.1', '::1', '2001:db8::12:0:1']) t.ok(leaf.checkIP(address), address);
  t.equal(leaf.checkHost('example.com'), undefined);
  t.equal(new Date(leaf.validFrom).getTime(), nowMs - 3_600_000);
  t.ok(new Date(leaf.validTo).getTime() < new Date(ca.validTo).getTime());
  t.doesNotThrow(() => createSecureContext({ cert: certPem, key: keyPem }));
  const other = generateCertificate(NAMES, nowMs);
  t.not(new X509Certificate(other.certPem).serialNumber, leaf.serialNumber);
  t.notOk(leaf.verify(new X509Certificate(other.caPem).publicKey));
});

test('openssl accepts it under its strict rules', { skip: !openssl && 'openssl is not installed' }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegauge-certificate-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const verify = (nowMs: number, ...args: readonly string[]): string => {
    const { certPem, caPem } = generateCertificate(NAMES, nowMs);
    writeFileSync(join(folder, 'leaf.pem'), certPem);
    writeFileSync(join(folder, 'ca.pem'), caPem);
    const strict = [
      'verify',
      '-x509_strict',
      '-check_ss_sig',
      '-purpose',
      'sslserver',
      '-CAfile',
      join(folder, 'ca.pem'),
    ];
    return execFileSync('openssl', [...strict, ...args, join(folder, 'leaf.pem')], { encoding: 'utf8', stdio: 'pipe' });
  };
  t.match(verify(Date.now(), '-verify_hostname', 'tidegauge.default.svc'), /: OK/);
  t.match(verify(Date.now(), '-verify_ip', '::1'), /: OK/);
  t.throws(() => verify(Date.now(), '-verify_hostname', 'example.com'), /.*/, 'the check can fail');
  const year2060 = Date.UTC(2060, 0, 1);
  t.match(verify(year2060, '-attime', String(year2060 / 1000)), /: OK/, 'years with four digits');
  for (let i = 0; i < 20; i++) t.match(verify(Date.now()), /: OK/, 'whatever the random numbers');
});
