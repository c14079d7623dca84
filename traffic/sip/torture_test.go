package sip

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

const sdp = "v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49217 RTP/AVP 0 12\r\nm=video 3227 RTP/AVP 31\r\na=rtpmap:31 LPC\r\n"

// torture are messages of RFC 4475, their lines shortened where length is not the point. Those that are not correct are also given here as servers
// see them: somebody sent SIP. want is start line, branch, tags of From and To, Call-ID, CSeq, octets of the body.
var torture = []struct{ name, text, want string }{
	{"wsinv", "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n" +
		"TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n" +
		"from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n" +
		"MaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.ndaksdj@192.0.2.1\r\nContent-Length   : 150\r\ncseq: 0009\r\n  INVITE\r\n" +
		"Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\ns :\r\n" +
		"NewFangledHeader:   newfangled value\r\n continued newfangled value\r\nUnknownHeaderWithUnusualValue: ;;,,;;,;\r\n" +
		"Content-Type: application/sdp\r\nRoute:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n" +
		"v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n" +
		"m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n\r\n" + sdp,
		"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam | 390skdjuw | 98asjd8 1918181833n | wsinv.ndaksdj@192.0.2.1 | 9 INVITE | 150"},
	{"intmeth", "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\r\n" +
		"Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\r\n" +
		"To: \"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7F\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\r\n" +
		"From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\xD1\x80\xD0\xB0\xD0\xB1\";tag=_token~1'+`*%!-.\r\n" +
		"Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\r\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\r\n" +
		"Max-Forwards: 255\r\nextensionHeader-!.%*+_`'~:\xEF\xBB\xBF\xE5\xA4\xA7\r\nContent-Length: 0\r\n\r\n",
		"!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com | z9hG4bK-.!%66*_+`'~ | _token~1'+`*%!-.  | intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{ | 139122385 !interesting-Method0123456789_*+`.%indeed'~ | 0"},
	{"esc02", "RE%47IST%45R sip:registrar.example.com SIP/2.0\r\nTo: \"%Z%45\" <sip:resource@example.com>\r\nFrom: \"%Z%45\" <sip:resource@example.com>;tag=f232jadfj23\r\n" +
		"Call-ID: esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf\r\nVia: SIP/2.0/TCP host.example.com;branch=z9hG4bK209%fzsnel234\r\nCSeq: 29344 RE%47IST%45R\r\n" +
		"Max-Forwards: 70\r\nContact: <sip:alias1@host1.example.com>\r\nC%6Fntact: <sip:alias2@host2.example.com>\r\nContact: <sip:alias3@host3.example.com>\r\nl: 0\r\n\r\n",
		"RE%47IST%45R sip:registrar.example.com | z9hG4bK209%fzsnel234 | f232jadfj23  | esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf | 29344 RE%47IST%45R | 0"},
	{"lwsdisp", "OPTIONS sip:user@example.com SIP/2.0\r\nTo: sip:user@example.com\r\nFrom: caller<sip:caller@example.com>;tag=323\r\nMax-Forwards: 70\r\n" +
		"Call-ID: lwsdisp.1234abcd@funky.example.com\r\nCSeq: 60 OPTIONS\r\nVia: SIP/2.0/UDP funky.example.com;branch=z9hG4bKkdjuw\r\nl: 0\r\n\r\n",
		"OPTIONS sip:user@example.com | z9hG4bKkdjuw | 323  | lwsdisp.1234abcd@funky.example.com | 60 OPTIONS | 0"},
	{"longreq", "INVITE sip:user@example.com SIP/2.0\r\nTo: \"I have a user name of " + strings.Repeat("extreme", 10) + " proportion\"<sip:user@example.com:6000;unknownparam1=very" + strings.Repeat("long", 20) + "value;longparam" + strings.Repeat("name", 25) + "=shortvalue;very" + strings.Repeat("long", 25) + "ParameterNameWithNoValue>\r\n" +
		"F: sip:" + strings.Repeat("amazinglylongcallername", 5) + "@example.net;tag=12" + strings.Repeat("982", 50) + "424;unknownheaderparam" + strings.Repeat("name", 20) + "=unknowheaderparam" + strings.Repeat("value", 15) + "\r\n" +
		"Call-ID: longreq.one" + strings.Repeat("really", 20) + "longcallid\r\nCSeq: 3882340 INVITE\r\nUnknown-" + strings.Repeat("Long", 20) + "-Name: unknown-" + strings.Repeat("long", 20) + "-value\r\n" +
		strings.Repeat("Via: SIP/2.0/TCP sip33.example.com\r\nv: SIP/2.0/TCP sip32.example.com\r\nV: SIP/2.0/TCP sip31.example.com\r\n", 11) +
		"Via: SIP/2.0/TCP host.example.com;received=192.0.2.5;branch=very" + strings.Repeat("long", 50) + "branchvalue\r\nMax-Forwards: 70\r\nContact: <sip:" + strings.Repeat("amazinglylongcallername", 5) + "@host5.example.net>\r\nContent-Type: application/sdp\r\nl: 150\r\n\r\n" + sdp,
		"INVITE sip:user@example.com |  | 12" + strings.Repeat("982", 50) + "424  | longreq.one" + strings.Repeat("really", 20) + "longcallid | 3882340 INVITE | 150"},
	{"dblreq", "REGISTER sip:example.com SIP/2.0\r\nTo: sip:j.user@example.com\r\nFrom: sip:j.user@example.com;tag=43251j3j324\r\nMax-Forwards: 8\r\nI: dblreq.0ha0isndaksdj99sdfafnl3lk233412\r\n" +
		"Contact: sip:j.user@host.example.com\r\nCSeq: 8 REGISTER\r\nVia: SIP/2.0/UDP 192.0.2.125;branch=z9hG4bKkdjuw23492\r\nContent-Length: 0\r\n\r\n\r\n" +
		"INVITE sip:joe@example.com SIP/2.0\r\nt: sip:joe@example.com\r\nFrom: sip:caller@example.net;tag=141334\r\nCall-ID: dblreq.0ha0isnda977644900765@192.0.2.15\r\nCSeq: 8 INVITE\r\nl: 0\r\n\r\n",
		"REGISTER sip:example.com | z9hG4bKkdjuw23492 | 43251j3j324  | dblreq.0ha0isndaksdj99sdfafnl3lk233412 | 8 REGISTER | 0"},
	{"semiuri", "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0\r\nTo: sip:j_user@example.com\r\nFrom: sip:caller@example.org;tag=33242\r\nMax-Forwards: 3\r\nCall-ID: semiuri.0ha0isndaksdj\r\nCSeq: 8 OPTIONS\r\n" +
		"Accept: application/sdp, application/pkcs7-mime,\r\n        multipart/mixed, multipart/signed,\r\n        message/sip, message/sipfrag\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKkdjuw\r\nl: 0\r\n\r\n",
		"OPTIONS sip:user;par=u%40example.net@example.com | z9hG4bKkdjuw | 33242  | semiuri.0ha0isndaksdj | 8 OPTIONS | 0"},
	{"transports", "OPTIONS sip:user@example.com SIP/2.0\r\nTo: sip:user@example.com\r\nFrom: <sip:caller@example.com>;tag=323\r\nMax-Forwards: 70\r\nCall-ID:  transports.kijh4akdnaqjkwendsasfdj\r\nAccept: application/sdp\r\nCSeq: 60 OPTIONS\r\n" +
		"Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw\r\nVia: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf\r\nVia: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en\r\nl: 0\r\n\r\n",
		"OPTIONS sip:user@example.com | z9hG4bKkdjuw | 323  | transports.kijh4akdnaqjkwendsasfdj | 60 OPTIONS | 0"},
	{"unreason", "SIP/2.0 200 = 2**3 * 5**2 \xD0\xBD\xD0\xBE \xD1\x81\xD1\x82\xD0\xBE\r\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\r\nCall-ID: unreason.1234ksdfak3j2erwedfsASdf\r\nCSeq: 35 INVITE\r\n" +
		"From: sip:user@example.com;tag=11141343\r\nTo: sip:user@example.edu;tag=2229\r\nContent-Length: 150\r\nContent-Type: application/sdp\r\nContact: <sip:user@host198.example.com>\r\n\r\n" + sdp,
		"200 | z9hG4bK1324923 | 11141343 2229 | unreason.1234ksdfak3j2erwedfsASdf | 35 INVITE | 150"},
	{"noreason", "SIP/2.0 100 \r\nVia: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe\r\nCall-ID: noreason.asndj203insdf99223ndf\r\nCSeq: 35 INVITE\r\nFrom: <sip:user@example.com>;tag=39ansfi3\r\nTo: <sip:user@example.edu>;tag=902jndnke3\r\nContent-Length: 0\r\nContact: <sip:user@host105.example.com>\r\n\r\n",
		"100 | z9hG4bK2398ndaoe | 39ansfi3 902jndnke3 | noreason.asndj203insdf99223ndf | 35 INVITE | 0"},
	{"badinv01", "INVITE sip:user@example.com SIP/2.0\r\nTo: sip:j.user@example.com\r\nFrom: sip:caller@example.net;tag=134161461246\r\nMax-Forwards: 7\r\nCall-ID: badinv01.0ha0isndaksdjasdf3234nas\r\nCSeq: 8 INVITE\r\nVia: SIP/2.0/UDP 192.0.2.15;;,;,,\r\n" +
		"Contact: \"Joe\" <sip:joe@example.org>;;;;\r\nContent-Length: 152\r\nContent-Type: application/sdp\r\n\r\n" + sdp,
		"INVITE sip:user@example.com |  | 134161461246  | badinv01.0ha0isndaksdjasdf3234nas | 8 INVITE | 150"},
	{"clerr", "INVITE sip:user@example.com SIP/2.0\r\nMax-Forwards: 80\r\nTo: sip:j.user@example.com\r\nFrom: sip:caller@example.net;tag=93942939o2\r\nContact: <sip:caller@hungry.example.net>\r\nCall-ID: clerr.0ha0isndaksdjweiafasdk3\r\nCSeq: 8 INVITE\r\nVia: SIP/2.0/UDP host5.example.com;branch=z9hG4bK-39234-23523\r\nContent-Type: application/sdp\r\nContent-Length: 9999\r\n\r\n" + sdp,
		"INVITE sip:user@example.com | z9hG4bK-39234-23523 | 93942939o2  | clerr.0ha0isndaksdjweiafasdk3 | 8 INVITE | 150"},
	{"ncl", "INVITE sip:user@example.com SIP/2.0\r\nMax-Forwards: 254\r\nTo: sip:j.user@example.com\r\nFrom: sip:caller@example.net;tag=32394234\r\nCall-ID: ncl.0ha0isndaksdj2193423r542w35\r\nCSeq: 0 INVITE\r\nVia: SIP/2.0/UDP 192.0.2.53;branch=z9hG4bKkdjuw\r\nContact: <sip:caller@example53.example.net>\r\nContent-Type: application/sdp\r\nContent-Length: -999\r\n\r\n" + sdp,
		"INVITE sip:user@example.com | z9hG4bKkdjuw | 32394234  | ncl.0ha0isndaksdj2193423r542w35 | 0 INVITE | 150"},
	{"scalar02", "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP host129.example.com;branch=z9hG4bK342sdfoi3\r\nTo: <sip:user@example.com>\r\nFrom: <sip:user@example.com>;tag=239232jh3\r\nCSeq: 36893488147419103232 REGISTER\r\nCall-ID: scalar02.23o0pd9vanlq3wnrlnewofjas9ui32\r\nMax-Forwards: 300\r\nExpires: 1" + strings.Repeat("0", 100) + "\r\nContact: <sip:user@host129.example.com>\r\n  ;expires=280297596632815\r\nContent-Length: 0\r\n\r\n",
		"REGISTER sip:example.com | z9hG4bK342sdfoi3 | 239232jh3  | scalar02.23o0pd9vanlq3wnrlnewofjas9ui32 | none | 0"},
	{"scalarlg", "SIP/2.0 503 Service Unavailable\r\nVia: SIP/2.0/TCP host129.example.com;branch=z9hG4bKzzxdiwo34sw;received=192.0.2.129\r\nTo: <sip:user@example.com>\r\nFrom: <sip:other@example.net>;tag=2easdjfejw\r\nCSeq: 9292394834772304023312 OPTIONS\r\nCall-ID: scalarlg.noase0of0234hn2qofoaf0232aewf2394r\r\nRetry-After: 949302838503028349304023988\r\nWarning: 1812 overture \"In Progress\"\r\nContent-Length: 0\r\n\r\n",
		"503 | z9hG4bKzzxdiwo34sw | 2easdjfejw  | scalarlg.noase0of0234hn2qofoaf0232aewf2394r | none | 0"},
	{"quotbal", "INVITE sip:user@example.com SIP/2.0\r\nTo: \"Mr. J. User <sip:j.user@example.com>\r\nFrom: sip:caller@example.net;tag=93334\r\nMax-Forwards: 10\r\nCall-ID: quotbal.aksdj\r\nContact: <sip:caller@host59.example.net>\r\nCSeq: 8 INVITE\r\nVia: SIP/2.0/UDP 192.0.2.59:5050;branch=z9hG4bKkdjuw39234\r\nContent-Type: application/sdp\r\nContent-Length: 152\r\n\r\n" + sdp,
		"INVITE sip:user@example.com | z9hG4bKkdjuw39234 | 93334  | quotbal.aksdj | 8 INVITE | 150"},
	{"ltgtruri", "INVITE <sip:user@example.com> SIP/2.0\r\nTo: sip:user@example.com\r\nFrom: sip:caller@example.net;tag=39291\r\nMax-Forwards: 23\r\nCall-ID: ltgtruri.1@192.0.2.5\r\nCSeq: 1 INVITE\r\nVia: SIP/2.0/UDP 192.0.2.5\r\nContact: <sip:caller@host5.example.net>\r\nContent-Type: application/sdp\r\nContent-Length: 159\r\n\r\n" + sdp,
		"INVITE <sip:user@example.com> |  | 39291  | ltgtruri.1@192.0.2.5 | 1 INVITE | 150"},
	{"lwsruri", "INVITE sip:user@example.com; lr SIP/2.0\r\nTo: sip:user@example.com;tag=3xfe-9921883-z9f\r\nFrom: sip:caller@example.net;tag=231413434\r\nMax-Forwards: 5\r\nCall-ID: lwsruri.asdfasdoeoi2323-asdfwrn23-asd834rk423\r\nCSeq: 2130706432 INVITE\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKkdjuw2395\r\nl: 0\r\n\r\n",
		"INVITE sip:user@example.com; lr | z9hG4bKkdjuw2395 | 231413434 3xfe-9921883-z9f | lwsruri.asdfasdoeoi2323-asdfwrn23-asd834rk423 | 2130706432 INVITE | 0"},
	{"lwsstart", "INVITE  sip:user@example.com  SIP/2.0\r\nMax-Forwards: 8\r\nTo: sip:user@example.com\r\nFrom: sip:caller@example.net;tag=8814\r\nCall-ID: lwsstart.dfknq234oi243099adsdfnawe3@example.com\r\nCSeq: 1893884 INVITE\r\nVia: SIP/2.0/UDP host1.example.com;branch=z9hG4bKkdjuw3923\r\nl: 0\r\n\r\n",
		"INVITE sip:user@example.com | z9hG4bKkdjuw3923 | 8814  | lwsstart.dfknq234oi243099adsdfnawe3@example.com | 1893884 INVITE | 0"},
	{"trws", "OPTIONS sip:remote-target@example.com SIP/2.0  \r\nVia: SIP/2.0/TCP host1.example.com;branch=z9hG4bK299342093\r\nTo: <sip:remote-target@example.com>\r\nFrom: <sip:local-resource@example.com>;tag=329429089\r\nCall-ID: trws.oicu34958239neffasdhr2345r\r\nAccept: application/sdp\r\nCSeq: 238923 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
		"OPTIONS sip:remote-target@example.com | z9hG4bK299342093 | 329429089  | trws.oicu34958239neffasdhr2345r | 238923 OPTIONS | 0"},
	{"baddn", "OPTIONS sip:t.watson@example.org SIP/2.0\r\nVia:     SIP/2.0/UDP c.example.com:5060;branch=z9hG4bKkdjuw\r\nMax-Forwards:      70\r\nFrom:    Bell, Alexander <sip:a.g.bell@example.com>;tag=43\r\nTo:      Watson, Thomas <sip:t.watson@example.org>\r\nCall-ID: baddn.31415@c.example.com\r\nAccept: application/sdp\r\nCSeq:    3923239 OPTIONS\r\nl: 0\r\n\r\n",
		"OPTIONS sip:t.watson@example.org | z9hG4bKkdjuw | 43  | baddn.31415@c.example.com | 3923239 OPTIONS | 0"},
	{"badaspec", "OPTIONS sip:user@example.org SIP/2.0\r\nVia: SIP/2.0/UDP host4.example.com:5060;branch=z9hG4bKkdju43234\r\nMax-Forwards: 70\r\nFrom: \"Bell, Alexander\" <sip:a.g.bell@example.com>;tag=433423\r\nTo: \"Watson, Thomas\" < sip:t.watson@example.org >\r\nCall-ID: badaspec.sdf0234n2nds0a099u23h3hnnw009cdkne3\r\nAccept: application/sdp\r\nCSeq: 3923239 OPTIONS\r\nl: 0\r\n\r\n",
		"OPTIONS sip:user@example.org | z9hG4bKkdju43234 | 433423  | badaspec.sdf0234n2nds0a099u23h3hnnw009cdkne3 | 3923239 OPTIONS | 0"},
	{"mismatch02", "NEWMETHOD sip:user@example.com SIP/2.0\r\nTo: sip:j.user@example.com\r\nFrom: sip:caller@example.net;tag=34525\r\nMax-Forwards: 6\r\nCall-ID: mismatch02.dj0234sxdfl3\r\nCSeq: 8 INVITE\r\nContact: <sip:caller@host.example.net>\r\nVia: SIP/2.0/UDP host.example.net;branch=z9hG4bKkdjuw\r\nContent-Type: application/sdp\r\nl: 150\r\n\r\n" + sdp,
		"NEWMETHOD sip:user@example.com | z9hG4bKkdjuw | 34525  | mismatch02.dj0234sxdfl3 | 8 INVITE | 150"},
	{"badbranch", "OPTIONS sip:user@example.com SIP/2.0\r\nTo: sip:user@example.com\r\nFrom: sip:caller@example.org;tag=33242\r\nMax-Forwards: 3\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK\r\nAccept: application/sdp\r\nCall-ID: badbranch.sadonfo23i420jv0as0derf3j3n\r\nCSeq: 8 OPTIONS\r\nl: 0\r\n\r\n",
		"OPTIONS sip:user@example.com | z9hG4bK | 33242  | badbranch.sadonfo23i420jv0as0derf3j3n | 8 OPTIONS | 0"},
	{"insuf", "INVITE sip:user@example.com SIP/2.0\r\nCSeq: 193942 INVITE\r\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\r\nContent-Type: application/sdp\r\nl: 152\r\n\r\n" + sdp,
		"INVITE sip:user@example.com | z9hG4bKkdj.insuf |   |  | 193942 INVITE | 150"},
	{"unkscm", "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0\r\nTo: sip:user@example.com\r\nFrom: sip:caller@example.net;tag=384\r\nMax-Forwards: 3\r\nCall-ID: unkscm.nasdfasser0q239nwsdfasdkl34\r\nCSeq: 3923423 OPTIONS\r\nVia: SIP/2.0/TCP host9.example.com;branch=z9hG4bKkdjuw39234\r\nContent-Length: 0\r\n\r\n",
		"OPTIONS nobodyKnowsThisScheme:totallyopaquecontent | z9hG4bKkdjuw39234 | 384  | unkscm.nasdfasser0q239nwsdfasdkl34 | 3923423 OPTIONS | 0"},
	{"multi01", "INVITE sip:user@company.com SIP/2.0\r\nContact: <sip:caller@host25.example.net>\r\nVia: SIP/2.0/UDP 192.0.2.25;branch=z9hG4bKkdjuw\r\nMax-Forwards: 70\r\nCSeq: 5 INVITE\r\nCall-ID: multi01.98asdh@192.0.2.1\r\nCSeq: 59 INVITE\r\nCall-ID: multi01.98asdh@192.0.2.2\r\nFrom: sip:caller@example.com;tag=3413415\r\nTo: sip:user@example.com\r\nTo: sip:other@example.net\r\nFrom: sip:caller@example.net;tag=2923420123\r\nContent-Type: application/sdp\r\nl: 150\r\nContact: <sip:caller@host36.example.net>\r\nMax-Forwards: 5\r\n\r\n" + sdp,
		"INVITE sip:user@company.com | z9hG4bKkdjuw | 3413415  | multi01.98asdh@192.0.2.1 | 5 INVITE | 150"},
	{"mcl01", "OPTIONS sip:user@example.com SIP/2.0\r\nVia: SIP/2.0/UDP host5.example.net;branch=z9hG4bK293423\r\nTo: sip:user@example.com\r\nFrom: sip:other@example.net;tag=3923942\r\nCall-ID: mcl01.fhn2323orihawfdoa3o4r52o3irsdf\r\nCSeq: 15932 OPTIONS\r\nContent-Length: 13\r\nMax-Forwards: 60\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nThere's no way to know how many octets are supposed to be here.\r\n",
		"OPTIONS sip:user@example.com | z9hG4bK293423 | 3923942  | mcl01.fhn2323orihawfdoa3o4r52o3irsdf | 15932 OPTIONS | 13"},
	{"cparam01", "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP saturn.example.com:5060;branch=z9hG4bKkdjuw\r\nMax-Forwards: 70\r\nFrom: sip:watson@example.com;tag=DkfVgjkrtMwaerKKpe\r\nTo: sip:watson@example.com\r\nCall-ID: cparam01.70710@saturn.example.com\r\nCSeq: 2 REGISTER\r\nContact: sip:+19725552222@gw1.example.net;unknownparam\r\nl: 0\r\n\r\n",
		"REGISTER sip:example.com | z9hG4bKkdjuw | DkfVgjkrtMwaerKKpe  | cparam01.70710@saturn.example.com | 2 REGISTER | 0"},
	{"inv2543", "INVITE sip:UserB@example.com SIP/2.0\r\nVia: SIP/2.0/UDP iftgw.example.com\r\nFrom: <sip:+13035551111@ift.client.example.net;user=phone>\r\nRecord-Route: <sip:UserB@example.com;maddr=ss1.example.com>\r\nTo: sip:+16505552222@ss1.example.net;user=phone\r\nCall-ID: inv2543.1717@ift.client.example.com\r\nCSeq: 56 INVITE\r\nContent-Type: application/sdp\r\n\r\n" + sdp,
		"INVITE sip:UserB@example.com |  |   | inv2543.1717@ift.client.example.com | 56 INVITE | 150"},
}

func summary(m *Message) string {
	start := fmt.Sprint(m.Status)
	if m.Request {
		start = fmt.Sprintf("%s %s", m.Method, m.URI)
	}
	cseq := "none"
	if n, method, ok := m.CSeq(); ok {
		cseq = fmt.Sprintf("%d %s", n, method)
	}
	return fmt.Sprintf("%s | %s | %s %s | %s | %s | %d", start, m.TopViaBranch(), m.FromTag(), m.ToTag(), m.CallID(), cseq, len(m.Body))
}

// The messages of RFC 4475 are read; those with wrong headers too, because it is enough to know that they came.
func TestParse_torture(t *testing.T) {
	if len(sdp) != 150 {
		t.Fatalf("the body has %d octets", len(sdp))
	}
	for _, tt := range torture {
		t.Run(tt.name, func(t *testing.T) {
			if got := summary(parse(t, tt.text)); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			lf := strings.ReplaceAll(tt.text, "\r\n", "\n")
			got, want := summary(parse(t, lf)), tt.want
			if i := strings.LastIndexByte(want, ' '); got[:i] != want[:i] {
				t.Errorf("without CR: got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// RFC 4475 3.1.2.16, 3.1.2.17 and 3.1.2.19: another version, a request line without version, a code of ten digits are no SIP/2.0.
func TestParse_tortureNot(t *testing.T) {
	for _, start := range []string{
		"OPTIONS sip:t.watson@example.org SIP/7.0", "SIP/2.0 4294967301 better not break the receiver", "INVITE sip:user@example.com", "SIP/2.0",
	} {
		var m Message
		if _, err := Parse([]byte(start+"\r\nCall-ID: x\r\n\r\n"), &m); err != ErrNotSIP { //nolint:errorlint // it is returned as it is
			t.Errorf("%s: got %v", start, err)
		}
	}
}

// RFC 4475 3.1.1.1 and 3.3.12: what lists and Contacts say.
func TestMessage_tortureLists(t *testing.T) {
	m := parse(t, torture[0].text)
	var branches []string
	for value := range m.Headers("via") {
		branch, _ := Param(value[bytes.IndexByte(value, ';'):], "branch")
		branches = append(branches, string(branch))
	}
	if got := strings.Join(branches, " "); got != "390skdjuw z9hG4bK9ikj8 z9hG4bK30239" {
		t.Errorf("branches: got %s", got)
	}
	for c := range m.Contacts() {
		q, _ := c.Param("q")
		value, _ := c.Param("newparam")
		_, second := c.Param("secondparam")
		if string(c.URI) != "sip:jdrosen@example.com" || string(q) != "0.33" || string(value) != "newvalue" || !second {
			t.Errorf("got %s, %s, %s, %v", c.URI, q, value, second)
		}
	}
}
