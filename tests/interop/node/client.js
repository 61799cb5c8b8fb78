// SPDX-License-Identifier: Apache-2.0
// npm's @grpc/grpc-js against the echo server: client.js ECHO_SERVER ECHO_PROTO_DIR PROTO_DIR
'use strict';
const assert = require('node:assert');
const {spawn} = require('node:child_process');
const {once} = require('node:events');
const path = require('node:path');
const readline = require('node:readline');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const [program, echoDir, protoDir] = process.argv.slice(2);
const options = {keepCase: true, longs: Number, defaults: true};
const echoPackage = grpc.loadPackageDefinition(protoLoader.loadSync(path.join(echoDir, 'echo.proto'), options));
const healthPackage = grpc.loadPackageDefinition(
    protoLoader.loadSync(path.join(protoDir, 'grpc/health/v1/health.proto'), options));
const reflectionPackages = ['v1', 'v1alpha'].map(version => grpc.loadPackageDefinition(
    protoLoader.loadSync(path.join(protoDir, `grpc/reflection/${version}/reflection.proto`), options))
    .grpc.reflection[version]);
const LIMIT_MS = 20000;

// Run `test` with a client of a server of its own, which must exit with 0.
async function withServer(serverOptions, channelOptions, test, endsByItself = false) {
  const server = spawn(program, serverOptions, {stdio: ['ignore', 'pipe', 'inherit']});
  const exited = once(server, 'exit');
  const [line] = await once(readline.createInterface({input: server.stdout}), 'line');
  const address = line.split(' ')[1];
  const echo = new echoPackage.sensebus.test.Echo(address, grpc.credentials.createInsecure(), channelOptions);
  try {
    await test(echo, address);
    if (!endsByItself)
      server.kill('SIGTERM');
    echo.close();
    const [status] = await exited;
    assert.strictEqual(status, 0, 'exit status of the server');
  } finally {
    echo.close();
    server.kill('SIGKILL');
  }
}

function unary(client, method, request, metadata = new grpc.Metadata(), timeoutMs = LIMIT_MS) {
  return new Promise((resolve, reject) => client[method](
      request, metadata, {deadline: Date.now() + timeoutMs}, (error, reply) => error ? reject(error) : resolve(reply)));
}

async function failsWith(code, promise) {
  try {
    await promise;
  } catch (error) {
    assert.strictEqual(error.code, code, error.message);
    return error;
  }
  assert.fail(`no status ${code}`);
}

// All messages of a stream, or its error.
async function collect(stream) {
  const messages = [];
  for await (const message of stream)
    messages.push(message);
  return messages;
}

async function untilCallsOpen(echo, n) {
  const giveUp = Date.now() + LIMIT_MS;
  while ((await unary(echo, 'GetCounters', {})).calls_open !== n + 1)
    assert(Date.now() < giveUp, 'calls are still open');
}

const tests = {
  unaryAndMetadata: () => withServer([], {}, async echo => {
    const metadata = new grpc.Metadata();
    metadata.set('x-test', 'seen');
    const reply = await unary(echo, 'Say', {text: 'grüße'}, metadata);
    assert.deepStrictEqual([reply.text, reply.metadata], ['grüße', 'seen']);
  }),

  metadataOfTheAnswer: () => withServer([], {}, async echo => {
    for (const [method, request, code] of [
      ['Say', {text: 'x'}, 0], ['Say', {status: 5, message: 'm'}, 5], ['Count', {repeat: 3}, 0],
    ]) {
      const metadata = new grpc.Metadata();
      metadata.set('x-echo-initial', 'first');
      metadata.set('x-echo-trailing', 'last');
      metadata.set('x-echo-trailing-bin', Buffer.from([0, 10, 255]));
      const call = method === 'Say' ? echo.Say(request, metadata, () => {}) : echo.Count(request, metadata);
      call.on('data', () => {});
      call.on('error', () => {});
      const [[initial], [status]] = await Promise.all([once(call, 'metadata'), once(call, 'status')]);
      assert.strictEqual(status.code, code);
      assert.deepStrictEqual(initial.get('x-echo-initial'), ['first']);
      assert.deepStrictEqual(status.metadata.get('x-echo-trailing'), ['last']);
      assert.deepStrictEqual(status.metadata.get('x-echo-trailing-bin'), [Buffer.from([0, 10, 255])]);
    }
  }),

  serverStream: () => withServer([], {}, async echo => {
    const replies = await collect(echo.Count({repeat: 5000, reply_bytes: 1000}));
    assert.deepStrictEqual(replies.map(r => r.number), Array.from({length: 5000}, (_, i) => i + 1));
  }),

  clientStream: () => withServer([], {}, async echo => {
    const reply = await new Promise((resolve, reject) => {
      const call = echo.Collect((error, value) => error ? reject(error) : resolve(value));
      for (let i = 0; i < 1000; i++)
        call.write({text: 'x'.repeat(1000)});
      call.end();
    });
    assert.match(reply.text, /^1000 messages/);
  }),

  chat: () => withServer([], {}, async echo => {
    const call = echo.Chat();
    let n = 0;
    call.write({text: '0'});
    for await (const reply of call) {
      assert.strictEqual(reply.text, String(n));
      if (++n === 500)
        call.end();
      else
        call.write({text: String(n)});
    }
    assert.strictEqual(n, 500);
  }),

  statusWithUtf8Message: () => withServer([], {}, async echo => {
    const message = 'kein Gerät „sda“ – 100 % weg';
    const error = await failsWith(grpc.status.NOT_FOUND, unary(echo, 'Say', {status: 5, message}));
    assert.strictEqual(error.details, message);
  }),

  statusAfterMessages: () => withServer([], {}, async echo => {
    const call = echo.Count({repeat: 100, status: 11, message: 'gone'});
    let n = 0;
    call.on('data', () => n++);
    const [error] = await once(call, 'error');
    assert.deepStrictEqual([n, error.code, error.details], [100, 11, 'gone']);
  }),

  unimplemented: () => withServer([], {}, async echo => {
    const call = new Promise((resolve, reject) => echo.makeUnaryRequest(
        '/no.such.Service/Say', x => x, x => x, Buffer.alloc(0), e => e ? reject(e) : resolve()));
    const error = await failsWith(grpc.status.UNIMPLEMENTED, call);
    assert.match(error.details, /\/no\.such\.Service\/Say/);
  }),

  cancelFreesTheCall: () => withServer([], {}, async echo => {
    const call = echo.Count({repeat: 0, reply_bytes: 1000});
    await new Promise(resolve => call.once('data', resolve));
    call.cancel();
    await failsWith(grpc.status.CANCELLED, collect(call));
    await untilCallsOpen(echo, 0);
  }),

  deadline: () => withServer([], {}, async echo => {
    await failsWith(grpc.status.DEADLINE_EXCEEDED,
        unary(echo, 'Say', {sleep_ms: 60000}, new grpc.Metadata(), 300));
    await untilCallsOpen(echo, 0);
  }),

  sizeLimit: () => withServer(['--max-message-bytes', '10000'], {}, async echo => {
    const error = await failsWith(grpc.status.RESOURCE_EXHAUSTED, unary(echo, 'Say', {text: 'x'.repeat(20000)}));
    assert.match(error.details, /exceeds the limit of 10000 bytes/);
  }),

  compressedIsRefused: () => withServer([], {'grpc.default_compression_algorithm': 2}, async echo => {
    await failsWith(grpc.status.UNIMPLEMENTED, unary(echo, 'Say', {text: 'x'.repeat(10000)}));
  }),

  pausedStreamHoldsBackOnlyItself: () => withServer([], {}, async echo => {
    const call = echo.Count({repeat: 3000, reply_bytes: 10000});
    call.pause();
    for (let i = 0; i < 50; i++)
      assert.strictEqual((await unary(echo, 'Say', {text: String(i)})).text, String(i));
    assert.strictEqual((await collect(call)).length, 3000);
  }),

  keepalive: () => withServer(['--keepalive-ms', '100', '--keepalive-timeout-ms', '5000'],
      {'grpc.keepalive_time_ms': 100, 'grpc.keepalive_timeout_ms': 5000}, async echo => {
        assert.strictEqual((await unary(echo, 'Say', {text: 'awake', sleep_ms: 1000})).text, 'awake');
      }),

  drain: () => withServer([], {}, async echo => {
    const call = echo.Count({repeat: 0, reply_bytes: 1000});
    await new Promise(resolve => call.once('data', resolve));
    await unary(echo, 'Drain', {grace_ms: 5000});
    const error = await failsWith(grpc.status.UNAVAILABLE, collect(call));
    assert.match(error.details, /draining/);
  }, true),

  health: () => withServer([], {}, async (echo, address) => {
    const health = new healthPackage.grpc.health.v1.Health(address, grpc.credentials.createInsecure());
    assert.strictEqual((await unary(health, 'Check', {service: ''})).status, 1);
    await failsWith(grpc.status.NOT_FOUND, unary(health, 'Check', {service: 'nobody'}));
    const watch = health.Watch({service: 'sensebus.test.Echo'});
    const [first] = await once(watch, 'data');
    assert.strictEqual(first.status, 1);
    watch.on('error', () => {});
    watch.cancel();
    health.close();
  }),

  reflection: () => withServer([], {}, async (echo, address) => {
    for (const reflection of reflectionPackages) {
      const client = new reflection.ServerReflection(address, grpc.credentials.createInsecure());
      const call = client.ServerReflectionInfo();
      call.write({list_services: ''});
      call.end();
      const [reply] = await collect(call);
      assert(reply.list_services_response.service.some(s => s.name === 'sensebus.test.Echo'));
      client.close();
    }
  }),
};

async function main() {
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`ok   ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}: ${error.stack}`);
    }
  }
  process.exit(failed ? 1 : 0);
}

main();
