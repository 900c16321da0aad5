// What dcmjs-dimse does for tools/foreign_tls.py: one thing over TLS, as the JSON in the first argument says; prints
// what came of it as JSON, or, as a server, the pixels of each object it takes.

const fs = require('fs');
const { Client, Server, Scp } = require('dcmjs-dimse');
const { CEchoRequest, CFindRequest, CGetRequest, CStoreRequest } = require('dcmjs-dimse').requests;
const { CStoreResponse } = require('dcmjs-dimse').responses;
const { Status, TransferSyntax, PresentationContextResult, UserIdentityType } =
  require('dcmjs-dimse').constants;
require('dcmjs-dimse').log.setLevel('silent');

const order = JSON.parse(process.argv[2]);
const read = (path) => path && fs.readFileSync(path);
const security = {
  key: read(order.key),
  cert: read(order.cert),
  ca: read(order.ca),
  rejectUnauthorized: true,
  minVersion: order.version,
  maxVersion: order.version,
};
const told = { statuses: [], studies: [], pixels: [], faults: [] };

function pixels(dataset) {
  const value = dataset.getElement('PixelData');
  return Buffer.from(Array.isArray(value) ? value[0] : value).toString('base64');
}

const REQUESTS = {
  echo: () => [new CEchoRequest()],
  find: () => [CFindRequest.createStudyFindRequest({ PatientID: 'P1', StudyInstanceUID: '' })],
  get: () => [CGetRequest.createStudyGetRequest(order.study)],
  store: () => order.files.map((file) => new CStoreRequest(file)),
};

function ask() {
  const client = new Client();
  for (const request of REQUESTS[order.what]()) {
    request.on('response', (response) => {
      told.statuses.push(response.getStatus());
      if (order.what === 'find' && response.hasDataset()) {
        told.studies.push(response.getDataset().getElement('StudyInstanceUID'));
      }
    });
    client.addRequest(request);
  }
  client.on('cStoreRequest', (request, answer) => {
    told.pixels.push(pixels(request.getDataset()));
    const response = CStoreResponse.fromRequest(request);
    response.setStatus(Status.Success);
    answer(response);
  });
  client.on('associationRejected', (r) => told.faults.push(`rejected ${r.result} ${r.source} ${r.reason}`));
  client.on('networkError', (error) => told.faults.push(String(error)));
  const identity = order.user && {
    type: UserIdentityType.UsernameAndPasscode,
    positiveResponseRequested: true,
    primaryField: order.user,
    secondaryField: order.passcode,
  };
  client.send('127.0.0.1', order.port, 'OTHER', 'MINIPACS', { securityOptions: security, userIdentity: identity });
  process.on('exit', () => {
    told.pixels.sort();
    fs.writeSync(1, JSON.stringify(told)); // a pipe is not waited for at the exit
  });
}

class Taker extends Scp {
  associationRequested(association) {
    for (const { id } of association.getPresentationContexts()) {
      const context = association.getPresentationContext(id);
      const syntaxes = context.getTransferSyntaxUids();
      const explicit = TransferSyntax.ExplicitVRLittleEndian;
      if (syntaxes.includes(explicit)) context.setResult(PresentationContextResult.Accept, explicit);
      else context.setResult(PresentationContextResult.RejectTransferSyntaxesNotSupported);
    }
    this.sendAssociationAccept();
  }

  cStoreRequest(request, answer) {
    process.stdout.write(`${pixels(request.getDataset())}\n`);
    const response = CStoreResponse.fromRequest(request);
    response.setStatus(Status.Success);
    answer(response);
  }

  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
}

if (order.what === 'serve') {
  const server = new Server(Taker);
  server.listen(order.listen, { securityOptions: { ...security, requestCert: true } });
  process.stdout.write('listening\n');
} else {
  ask();
}
