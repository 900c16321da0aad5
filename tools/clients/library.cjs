// npm's dicomweb-client, with XMLHttpRequest by xhr2: stores, searches and retrieves. Arguments: URL FILE...
const fs = require('fs');
const assert = require('assert');
const Request = require('xhr2');

globalThis.XMLHttpRequest = Request;
const { api } = require('dicomweb-client');

async function main(url, paths) {
  const client = new api.DICOMwebClient({ url });
  const files = paths.map(path => { const b = fs.readFileSync(path); return b.buffer.slice(b.byteOffset, b.byteOffset + b.length); });
  const dataSet = file => { const b = Buffer.from(file); return b.subarray(144 + b.readUInt32LE(140)); };
  const same = (found, file) => assert(dataSet(found).equals(dataSet(file)), 'other bytes than were stored');
  await client.storeInstances({ datasets: files });
  const [study] = await client.searchForStudies({ queryParams: { PatientID: 'CLIENT' } });
  const studyInstanceUID = study['0020000D'].Value[0];
  const [series] = await client.searchForSeries({ studyInstanceUID });
  const seriesInstanceUID = series['0020000E'].Value[0];
  const instances = await client.searchForInstances({ studyInstanceUID, seriesInstanceUID, queryParams: { includefield: 'all' } });
  assert.strictEqual(instances.length, files.length);
  const metadata = await client.retrieveSeriesMetadata({ studyInstanceUID, seriesInstanceUID });
  assert.strictEqual(metadata.length, files.length);
  const sopInstanceUID = metadata[0]['00080018'].Value[0];
  const one = { studyInstanceUID, seriesInstanceUID, sopInstanceUID };
  same(await client.retrieveInstance(one), files[0]);
  const all = await client.retrieveStudy({ studyInstanceUID });
  assert.strictEqual(all.length, files.length);
  all.forEach((found, i) => same(found, files[i]));
  assert.strictEqual((await client.retrieveSeries({ studyInstanceUID, seriesInstanceUID })).length, files.length);
  const [frame] = await client.retrieveInstanceFrames({ ...one, frameNumbers: [1] });
  assert(Buffer.from(files[0]).includes(Buffer.from(frame)), 'the frame is not in the file');
  const bulk = await client.retrieveBulkData({ BulkDataURI: metadata[0]['7FE00010'].BulkDataURI });
  assert(Buffer.from(bulk[0]).equals(Buffer.from(frame)), 'bulk data are other than the frame');
  const [picture] = await client.retrieveInstanceRendered({ ...one, mediaTypes: [{ mediaType: 'image/png' }] });
  assert.strictEqual(Buffer.from(picture).subarray(1, 4).toString(), 'PNG');
  const [small] = await client.retrieveInstanceThumbnail({ ...one, mediaTypes: [{ mediaType: 'image/jpeg' }] });
  assert.strictEqual(Buffer.from(small).readUInt16BE(0), 0xffd8);
  await assert.rejects(client.retrieveInstance({ ...one, sopInstanceUID: '1.2.3' }), error => error.status === 404);
  console.log(`${files.length} instances stored, found and fetched`);
}

const [url, ...paths] = process.argv.slice(2);
main(url, paths).catch(error => { console.error(error); process.exit(1); });
