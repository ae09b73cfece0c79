// Runs an offline Solana node until standard input ends: node surfpool_node.mjs FOLDER, FOLDER being where npm put the package.
// Reads one line of JSON {so, programs, accounts: [{address, owner, data}]}, writes one {rpc, ws, payer}.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';

const { Surfnet } = createRequire(resolve(process.argv[2], 'package.json'))('@solana/surfpool-linux-x64-gnu');
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { so, programs, accounts } = JSON.parse((await input.next()).value);

const node = Surfnet.startWithConfig({ offline: true, blockProductionMode: 'clock', slotTimeMs: 400 });
for (const programId of programs) node.deploy({ programId, soPath: so });
for (const { address, owner, data } of accounts) {
  node.setAccount(address, 10_000_000_000, Array.from(Buffer.from(data, 'hex')), owner);
}
console.log(JSON.stringify({ rpc: node.rpcUrl, ws: node.wsUrl, payer: Array.from(node.payerSecretKey) }));

setInterval(() => node.drainEvents(), 200); // they are kept until somebody asks
while (!(await input.next()).done);
node.stop();
process.exit(0);
