#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Print events and resume behind the last one seen, also after a restart. usage: subscribe.js ADDRESS POSITION_FILE
'use strict';
const fs = require('fs');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [address, file] = process.argv.slice(2);
if (!file) {
  console.error('usage: subscribe.js ADDRESS POSITION_FILE');
  process.exit(1);
}
const proto = process.env.SENSEBUS_PROTO || path.join(__dirname, '../../proto');
// 64-bit numbers as strings, enums as names.
const options = { includeDirs: [proto], longs: String, enums: String, defaults: true, oneofs: true };
const { Events } = grpc.loadPackageDefinition(loader.loadSync('sensebus/v1/events.proto', options)).sensebus.v1;
const events = new Events(address, grpc.credentials.createInsecure());
let position = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file)) : null; // of what was handled

function handle(batch) {
  for (const name of ['opened', 'gap', 'synced', 'mark']) { // each says how far the stream is
    if (batch[name]) position = name === 'gap' ? batch.gap.to : batch[name].position;
  }
  if (batch.gap) console.log(`missing: ${batch.gap.count} events, ${batch.gap.reason}`);
  for (const event of batch.events) {
    console.log(event.sequence, event.origin.host, event.code, JSON.stringify(event.summary));
    position.sequence = event.sequence;
  }
  fs.writeFileSync(`${file}.new`, JSON.stringify(position));
  fs.renameSync(`${file}.new`, file);
}

function subscribe() {
  const stream = events.Subscribe({ ...(position ? { position } : { oldest: {} }), markIntervalMs: 5000 });
  stream.on('data', handle);
  stream.on('end', () => {});
  stream.on('error', (error) => {
    if (error.code !== grpc.status.UNAVAILABLE) {
      console.error(`${grpc.status[error.code]}: ${error.details}`);
      process.exit(1);
    }
    setTimeout(subscribe, 1000);
  });
}
subscribe();
