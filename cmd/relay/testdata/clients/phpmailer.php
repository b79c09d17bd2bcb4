<?php
// One message by PHPMailer: PORT CA USER PASSWORD FROM TO
require '/usr/share/php/libphp-phpmailer/autoload.php';

[, $port, $ca, $user, $password, $from, $to] = $argv;
$m = new PHPMailer\PHPMailer\PHPMailer(true);
$m->isSMTP();
$m->Host = '127.0.0.1';
$m->Port = (int) $port;
$m->SMTPSecure = PHPMailer\PHPMailer\PHPMailer::ENCRYPTION_STARTTLS;
$m->SMTPOptions = ['ssl' => ['cafile' => $ca, 'verify_peer' => true, 'verify_peer_name' => true]];
$m->SMTPAuth = true;
$m->Username = $user;
$m->Password = $password;
$m->CharSet = 'utf-8';
$m->setFrom($from, 'Büro, Abteilung A');
$m->addAddress($to);
$m->addBCC('hidden@dest.example');
$m->Subject = 'Grüße von PHPMailer';
$m->isHTML(true);
$m->Body = "<p>Guten Tag</p>\r\n.\r\n<p>ä</p>";
$m->AltBody = "Guten Tag\r\n.\r\nä";
$m->addStringAttachment(str_repeat("\x00\xff", 1000), 'a.bin');
try {
    $m->send();
} catch (Exception $e) {
    fwrite(STDERR, $e->getMessage() . "\n" . $m->getSMTPInstance()->getError()['detail'] . "\n");
    exit(1);
}
