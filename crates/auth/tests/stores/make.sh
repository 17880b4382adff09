#!/bin/sh
# Makes the stores in this folder anew. They hold throwaway keys that guard nothing; every password is public.
# Needs keytool of a JDK 17 or later, and openssl 3. The tests need neither.
set -eu
cd "$(dirname "$0")"
rm -f ./*.jks ./*.p12 ./*.pem ./*.jceks

PASS=store-pass-1
KEYPASS=key-pass-2
DAYS=36500
kt() { keytool -noprompt "$@" 2>/dev/null; }

# An authority, and a broker key signed by it.
kt -genkeypair -alias ca -keyalg EC -groupname secp256r1 -dname "CN=Test CA" -ext bc:c -validity $DAYS \
  -keystore ca.p12 -storetype pkcs12 -storepass $PASS
kt -exportcert -rfc -alias ca -keystore ca.p12 -storepass $PASS > ca.pem

kt -genkeypair -alias client -keyalg EC -groupname secp256r1 -dname "CN=client" -validity $DAYS \
  -keystore client.jks -storetype jks -storepass $PASS -keypass $KEYPASS
kt -certreq -alias client -keystore client.jks -storepass $PASS -keypass $KEYPASS |
  kt -gencert -rfc -alias ca -keystore ca.p12 -storepass $PASS -validity $DAYS > client-cert.pem
kt -importcert -alias ca -file ca.pem -keystore client.jks -storepass $PASS
kt -importcert -alias client -file client-cert.pem -keystore client.jks -storepass $PASS -keypass $KEYPASS

# The same entries as PKCS#12, current and old algorithms.
kt -importkeystore -srckeystore client.jks -srcstorepass $PASS -srckeypass $KEYPASS -srcalias client -destalias client \
  -destkeystore client.p12 -deststoretype pkcs12 -deststorepass $PASS -destkeypass $PASS
kt -J-Dkeystore.pkcs12.legacy -importkeystore -srckeystore client.p12 -srcstorepass $PASS \
  -destkeystore client-legacy.p12 -deststoretype pkcs12 -deststorepass $PASS

# With little work to open them, for tests that open thousands of damaged copies.
# (Java's old algorithms have fixed iteration counts, so openssl makes that one.)
kt -J-Dkeystore.pkcs12.macIterationCount=16 -J-Dkeystore.pkcs12.certPbeIterationCount=16 \
  -J-Dkeystore.pkcs12.keyPbeIterationCount=16 -importkeystore -srckeystore client.p12 -srcstorepass $PASS \
  -destkeystore client-quick.p12 -deststoretype pkcs12 -deststorepass $PASS
openssl pkcs12 -in client.p12 -passin pass:$PASS -nodes |
  openssl pkcs12 -export -legacy -iter 16 -passout pass:$PASS -out client-legacy-quick.p12

# Trust stores; the last one as openssl makes it, without Java's mark for trusted entries.
kt -importcert -alias ca -file ca.pem -keystore trust.jks -storetype jks -storepass $PASS
kt -importcert -alias ca -file ca.pem -keystore trust.p12 -storetype pkcs12 -storepass $PASS
openssl pkcs12 -export -nokeys -in ca.pem -passout pass:$PASS -out trust-openssl.p12
kt -importcert -alias ca -file ca.pem -keystore trust.jceks -storetype jceks -storepass $PASS

# Several keys: the first in order of alias counts.
kt -genkeypair -alias zebra -keyalg RSA -keysize 2048 -dname "CN=zebra" -validity $DAYS \
  -keystore several.jks -storetype jks -storepass $PASS -keypass $PASS
kt -genkeypair -alias ape -keyalg RSA -keysize 2048 -dname "CN=ape" -validity $DAYS \
  -keystore several.jks -storetype jks -storepass $PASS -keypass $PASS

# Keys as PEM.
openssl pkcs12 -in client.p12 -passin pass:$PASS -nodes -nocerts | openssl pkey -out key-pkcs8.pem
openssl ec -in key-pkcs8.pem -out key-sec1.pem 2>/dev/null
openssl pkcs8 -topk8 -in key-pkcs8.pem -passout pass:$KEYPASS -out key-encrypted.pem
openssl pkcs8 -topk8 -iter 16 -in key-pkcs8.pem -passout pass:$KEYPASS -out key-encrypted-quick.pem
openssl pkcs8 -topk8 -scrypt -scrypt_N 1024 -in key-pkcs8.pem -passout pass:$KEYPASS -out key-scrypt.pem
openssl ec -aes128 -in key-pkcs8.pem -passout pass:$KEYPASS -out key-old-openssl.pem 2>/dev/null
openssl genrsa -traditional -out key-rsa-pkcs1.pem 2048 2>/dev/null
openssl req -x509 -key key-rsa-pkcs1.pem -subj "/CN=rsa" -days $DAYS -out rsa-cert.pem

rm client-cert.pem ca.p12
